//! Formats over bytes in memory: any split, any piece, any bytes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::options::ReadOptions;
use super::report::PartReport;
use super::slice::{FilePath, Split, Stamp, TakenFile};
use super::*;
use crate::error::BoxError;
use crate::rdd::OnError;
use crate::source::Charset;

fn options() -> ReadOptions {
    ReadOptions {
        compression: Compression::Auto,
        charset: Charset::UTF_8,
        max_line_bytes: 1 << 20,
        on_bad_record: OnError::Skip,
        on_file_error: OnError::Fail,
        piece: 1 << 20,
    }
}

/// Reads `content` in the parts given, or as a whole.
fn read<F: InputFormat>(
    format: &F,
    name: &str,
    content: &[u8],
    options: &ReadOptions,
    splits: &[(u64, u64)],
) -> (Vec<F::Item>, PartReport, Result<(), BoxError>) {
    let size = content.len() as u64;
    let stamp = Stamp { size, mtime: 0 };
    let file = TakenFile { path: FilePath(name.into()), stamp, id: None };
    let (mut records, mut sum) = (Vec::new(), PartReport::default());
    let whole = [(0, size)];
    let cut = !splits.is_empty();
    for &(start, end) in if cut { splits } else { &whole } {
        let report = RefCell::default();
        let split = Split { file: 0, start, end, cut };
        let part = FilePart::new(&file, split, options, &report).with_content(content);
        let done = format.read(&part, |r| {
            records.push(r);
            ControlFlow::Continue(())
        });
        sum.add(report.into_inner());
        if done.is_err() {
            return (records, sum, done);
        }
    }
    (records, sum, Ok(()))
}

/// Consecutive ranges of `step` bytes.
fn every(len: usize, step: u64) -> Vec<(u64, u64)> {
    let len = len as u64;
    (0..len.div_ceil(step)).map(|i| (i * step, ((i + 1) * step).min(len))).collect()
}

/// Text with line ends of all kinds, long lines and characters of all lengths.
fn text() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => "[a-z ]{0,12}",
        2 => "[流œ🌊\r]{0,8}",
        1 => "[a-z流]{30,90}",
    ];
    let end = prop_oneof![4 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\n\n")];
    (prop::collection::vec((line, end), 0..12), "[a-z\r]{0,6}").prop_map(|(lines, last)| {
        lines.iter().map(|(l, e)| format!("{l}{e}")).collect::<String>() + &last
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Every line is read once, by the part in which it begins, whatever the pieces.
    #[test]
    fn lines_of_parts_are_those_of_the_whole(text in text(), step in 1u64..80, piece in 1usize..64) {
        let want: Vec<&str> = text.lines().collect();
        let small = ReadOptions { piece, ..options() };
        let (whole, _, _) = read(&Lines::new(), "a", text.as_bytes(), &small, &[]);
        prop_assert_eq!(&whole, &want);
        let splits = every(text.len(), step);
        let (parts, report, _) = read(&Lines::new(), "a", text.as_bytes(), &small, &splits);
        prop_assert_eq!(&parts, &want);
        prop_assert_eq!(report, PartReport::default());
    }

    /// Lines are cut at the same places and counted, whatever the pieces and parts.
    #[test]
    fn long_lines_are_cut_alike(text in text(), step in 1u64..80, piece in 1usize..64, max in 4usize..40) {
        let small = ReadOptions { piece, max_line_bytes: max, ..options() };
        let big = ReadOptions { max_line_bytes: max, ..options() };
        let (want, counts, _) = read(&Lines::new(), "a", text.as_bytes(), &big, &[]);
        let long = text.lines().filter(|l| l.len() > max).count() as u64;
        prop_assert_eq!(counts.long_lines, long);
        prop_assert!(want.iter().all(|l| l.len() <= max));
        let strip = |s: String| s.replace(['\n', '\r'], "");
        prop_assert_eq!(strip(want.concat_all()), strip(text.clone()));
        for splits in [vec![], every(text.len(), step)] {
            let (got, c, _) = read(&Lines::new(), "a", text.as_bytes(), &small, &splits);
            prop_assert_eq!(&got, &want);
            prop_assert_eq!(&c, &counts);
        }
    }

    /// The same with bytes that are no text: every invalid sequence is counted once.
    #[test]
    fn any_bytes_are_lines(
        bytes in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(b'\n')], 0..200),
        step in 1u64..80,
        piece in 1usize..64,
    ) {
        prop_assume!(!bytes.starts_with(b"\xef\xbb\xbf"));
        let plain = ReadOptions { compression: Compression::None, piece, ..options() };
        let text = String::from_utf8_lossy(&bytes);
        let invalid = bytes.utf8_chunks().filter(|c| !c.invalid().is_empty()).count() as u64;
        for splits in [vec![], every(bytes.len(), step)] {
            let (got, counts, _) = read(&Lines::new(), "a", &bytes, &plain, &splits);
            prop_assert_eq!(&got, &text.lines().collect::<Vec<_>>());
            prop_assert_eq!(counts.invalid_text, invalid);
        }
    }

    /// A character set that isn't UTF-8 changes nothing of it.
    #[test]
    fn other_character_sets_are_read_in_parts(text in text(), step in 1u64..80, piece in 1usize..64) {
        let gbk = encoding_rs::GB18030.encode(&text).0;
        let charset = Charset::named("gb18030").unwrap();
        let small = ReadOptions { charset, piece, ..options() };
        for splits in [vec![], every(gbk.len(), step)] {
            let (got, counts, _) = read(&Lines::new(), "a", &gbk, &small, &splits);
            prop_assert_eq!(&got, &text.lines().collect::<Vec<_>>());
            prop_assert_eq!(counts.invalid_text, 0);
        }
    }

    #[test]
    fn fixed_records_of_parts_are_those_of_the_whole(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        n in 1usize..20,
        step in 1u64..80,
    ) {
        let plain = ReadOptions { compression: Compression::None, ..options() };
        let want: Vec<&[u8]> = bytes.chunks_exact(n).collect();
        for splits in [vec![], every(bytes.len(), step)] {
            let (got, _, done) = read(&FixedRecords::new(n), "a", &bytes, &plain, &splits);
            prop_assert_eq!(&got, &want);
            match done {
                Ok(()) => prop_assert_eq!(bytes.len() % n, 0),
                Err(e) => {
                    let text = format!("length of {} bytes is no multiple of the record length {n}", bytes.len());
                    prop_assert!(bytes.len() % n > 0 && e.to_string().contains(&text), "{}", e);
                }
            }
        }
    }

    /// JSON lines in parts, with bad and long lines among them.
    #[test]
    fn json_of_parts_is_that_of_the_whole(
        lines in prop::collection::vec(prop_oneof![
            4 => any::<u32>().prop_map(|n| format!("{{\"n\":{n}}}")),
            1 => "[{}a-z\"]{0,8}",
            1 => any::<u32>().prop_map(|n| format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(60))),
        ], 0..20),
        step in 1u64..80,
        piece in 1usize..64,
    ) {
        let text = lines.join("\n");
        let small = ReadOptions { piece, max_line_bytes: 40, ..options() };
        let good = |l: &&String| l.len() <= 40 && serde_json::from_str::<N>(l).is_ok();
        let want: Vec<N> = lines.iter().filter(good).map(|l| serde_json::from_str(l).unwrap()).collect();
        let bad = lines.iter().filter(|l| !l.is_empty() && !good(l)).count() as u64;
        for splits in [vec![], every(text.len(), step)] {
            let (got, counts, done) = read(&JsonLines::<N>::new(), "a", text.as_bytes(), &small, &splits);
            prop_assert!(done.is_ok());
            prop_assert_eq!(&got, &want);
            prop_assert_eq!(counts.bad_records, bad);
        }
    }

    /// Any bytes: no panic, and what isn't a record is counted or an error.
    #[test]
    fn any_bytes_are_survived(
        bytes in prop::collection::vec(prop_oneof![
            2 => any::<u8>(),
            3 => prop::sample::select(&b"{}[]\",:\n\r\\0123ntu;a"[..]),
        ], 0..300),
        piece in 1usize..64,
        max in 4usize..100,
    ) {
        let small = ReadOptions { piece, max_line_bytes: max, ..options() };
        for name in ["a", "a.gz", "a.zst", "a.bz2"] {
            let _ = read(&JsonLines::<serde_json::Value>::new(), name, &bytes, &small, &[]);
            let _ = read(&JsonLines::<N>::new(), name, &bytes, &small, &every(bytes.len(), 17));
            let _ = read(&Csv::<(String, i64)>::new(), name, &bytes, &small, &[]);
            let _ = read(&Csv::<HashMap<String, f64>>::new(), name, &bytes, &small, &[]);
            let _ = read(&Csv::<Vec<String>>::new().header(false).delimiter(b';'), name, &bytes, &small, &[]);
            let _ = read(&Lines::new(), name, &bytes, &small, &[]);
            let _ = read(&WholeFiles::new().max_bytes(1 << 20), name, &bytes, &small, &[]);
        }
    }

    /// Rows come back as they were written.
    #[test]
    fn csv_comes_back(rows in prop::collection::vec(("[a-z,\"\n流 ]{0,9}", any::<i64>()), 1..20)) {
        let mut out = ::csv::Writer::from_writer(Vec::new());
        out.write_record(["word", "n"]).unwrap();
        rows.iter().for_each(|r| out.serialize(r).unwrap());
        let bytes = out.into_inner().unwrap();
        let (got, counts, done) = read(&Csv::<(String, i64)>::new(), "a", &bytes, &options(), &[]);
        prop_assert!(done.is_ok());
        prop_assert_eq!((got, counts.bad_records), (rows, 0));
    }
}

trait Concat {
    fn concat_all(&self) -> String;
}

impl Concat for Vec<Str> {
    fn concat_all(&self) -> String {
        self.iter().map(Str::as_str).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct N {
    n: u32,
}

#[test]
fn csv_names_the_bad_row_and_goes_on() {
    let rows = b"word,n\na,1\nb\nc,x\nd,4\n";
    let (got, report, done) = read(&Csv::<(String, i64)>::new(), "a", rows, &options(), &[]);
    assert!(done.is_ok());
    assert_eq!(got, [("a".to_string(), 1), ("d".to_string(), 4)]);
    assert_eq!(report.bad_records, 2);
    assert!(
        report.bad[0].contains("line 3") && report.bad[1].contains("line 4"),
        "{:?}",
        report.bad
    );
    let strict = ReadOptions { on_bad_record: OnError::Fail, ..options() };
    let (got, _, done) = read(&Csv::<(String, i64)>::new(), "a", rows, &strict, &[]);
    assert_eq!(got.len(), 1);
    assert!(done.unwrap_err().is::<super::part::BadRecord>());
}

#[test]
fn row_without_an_end_is_an_error_before_it_fills_the_memory() {
    let mut rows = b"word,n\na,1\n\"".to_vec();
    rows.resize(8 << 20, b'x');
    let small = ReadOptions { max_line_bytes: 1_000, ..options() };
    let (got, _, done) = read(&Csv::<(String, i64)>::new(), "a", &rows, &small, &[]);
    assert_eq!(got.len(), 1);
    let e = done.unwrap_err().to_string();
    assert!(e.contains("longer than 1000 bytes"), "{e}");
}

#[test]
fn byte_order_mark_and_utf16_are_read() {
    let (got, ..) = read(&Lines::new(), "a", b"\xef\xbb\xbfa\nb", &options(), &[]);
    assert_eq!(got, ["a", "b"]);
    let utf16 = ReadOptions { charset: Charset::named("utf-16le").unwrap(), piece: 3, ..options() };
    let bytes: Vec<u8> = "\u{feff}流\nœ".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (got, ..) = read(&Lines::new(), "a", &bytes, &utf16, &[]);
    assert_eq!(got, ["流", "œ"]);
}

#[test]
fn content_above_the_limit_is_no_record() {
    let (_, _, done) = read(&WholeFiles::new().max_bytes(4), "a", b"12345", &options(), &[]);
    assert!(done.unwrap_err().to_string().contains("more than 4 bytes"));
    let (got, ..) = read(&WholeFiles::new().max_bytes(5), "a", b"12345", &options(), &[]);
    assert_eq!(got, [(Str::from("a"), b"12345".to_vec())]);
}

mod compressed {
    use std::io::Write;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(text).unwrap();
        out.finish().unwrap()
    }

    fn bzip2(text: &[u8]) -> Vec<u8> {
        let mut out = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
        out.write_all(text).unwrap();
        out.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
    }

    type Compress = fn(&[u8]) -> Vec<u8>;
    const ALL: [(&str, Compress); 3] = [("gz", gzip), ("zst", zstd), ("bz2", bzip2)];

    fn long_text() -> String {
        (0..40_000).map(|i| format!("line {i} of the brook\n")).collect()
    }

    #[test]
    fn all_members_are_read_by_name_and_by_their_first_bytes() {
        let text = long_text();
        let (one, two) = text.as_bytes().split_at(text.len() / 3);
        for (extension, compress) in ALL {
            let bytes = [compress(one), compress(two)].concat();
            for name in
                [format!("a.{extension}"), "a".into(), format!("A.{}", extension.to_uppercase())]
            {
                let (got, _, done) = read(&Lines::new(), &name, &bytes, &options(), &[]);
                assert!(done.is_ok(), "{name}: {done:?}");
                assert!(got == text.lines().collect::<Vec<_>>(), "{name}");
            }
            let none = ReadOptions { compression: Compression::None, ..options() };
            let (got, ..) = read(&WholeFiles::new(), "a.gz", &bytes, &none, &[]);
            assert_eq!(got[0].1, bytes);
        }
    }

    #[test]
    fn damaged_content_is_an_error() {
        let text = long_text();
        for (extension, compress) in ALL {
            let name = format!("a.{extension}");
            let whole = compress(text.as_bytes());
            let (_, _, done) =
                read(&Lines::new(), &name, &whole[..whole.len() / 2], &options(), &[]);
            assert!(done.is_err(), "{name}: cut off");
            let (_, _, done) = read(&Lines::new(), &name, b"no such thing\n", &options(), &[]);
            assert!(done.is_err(), "{name}: other content");
            let mut wrong = whole.clone();
            let n = wrong.len();
            wrong[n / 2] ^= 0x55;
            let (got, _, done) = read(&Lines::new(), &name, &wrong, &options(), &[]);
            assert!(
                done.is_err() || got == text.lines().collect::<Vec<_>>(),
                "{name}: a wrong byte"
            );
        }
    }

    #[test]
    fn frames_for_others_are_skipped() {
        let mut bytes = vec![0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        bytes.extend(zstd(b"a\nb\n"));
        bytes.extend([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
        let (got, _, done) = read(&Lines::new(), "a.zst", &bytes, &options(), &[]);
        assert!(done.is_ok(), "{done:?}");
        assert_eq!(got, ["a", "b"]);
        let (_, _, done) = read(&Lines::new(), "a.zst", &bytes[..10], &options(), &[]);
        assert!(done.is_err());
    }
}
