use proptest::prelude::*;

use super::super::text::{Cuts, TextDoor, after_lines};
use super::*;
use crate::text::Str;
use crate::time::Clock;

/// The lines as the door gives them for these chunks.
fn door(chunks: &[&[u8]], max_line: usize) -> (Vec<u8>, Cuts) {
    let mut door = TextDoor::new(max_line);
    let (mut text, mut all) = (Vec::new(), Cuts::default());
    let mut out = |lines: &[u8], n: usize| -> Result<(), ()> {
        assert!(lines.ends_with(b"\n"));
        assert_eq!(lines.iter().filter(|b| **b == b'\n').count(), n);
        text.extend_from_slice(lines);
        Ok(())
    };
    let mut add = |c: Cuts| {
        all.long_lines += c.long_lines;
        all.half_lines += c.half_lines;
    };
    for chunk in chunks {
        add(door.push(chunk, &mut out).unwrap());
    }
    add(door.end(&mut out).unwrap());
    (text, all)
}

/// What the door has to give, line by line.
fn expected(input: &[u8], max_line: usize) -> (Vec<u8>, Cuts) {
    let mut text = Vec::new();
    let mut cuts = Cuts::default();
    for line in input.split_inclusive(|b| *b == b'\n') {
        let (content, end) = match line.strip_suffix(b"\n") {
            None => {
                cuts.half_lines += 1; // an end is given to it, and then a `\r` belongs to the end
                line.strip_suffix(b"\r").map_or((line, &b"\n"[..]), |l| (l, b"\r\n"))
            }
            Some(l) => l.strip_suffix(b"\r").map_or((l, &b"\n"[..]), |l| (l, b"\r\n")),
        };
        let mut rest = content;
        let long = rest.len() > max_line;
        cuts.long_lines += u64::from(long);
        while rest.len() > max_line {
            let at = (max_line - 3..=max_line).rev().find(|i| rest[*i] & 0xc0 != 0x80);
            let (head, tail) = rest.split_at(at.unwrap_or(max_line));
            text.extend_from_slice(head);
            text.push(b'\n');
            rest = tail;
        }
        text.extend_from_slice(rest);
        text.extend_from_slice(end);
    }
    (text, cuts)
}

#[test]
fn a_text_cut_anywhere_gives_the_same_lines() {
    let text =
        "eins\r\nzwei\n\n\r\nnaïve — 日本語\n🦀🦀🦀\nein ziemlich langes Stück\r\nhalf \u{e9}";
    let want = expected(text.as_bytes(), 20);
    assert_eq!(want.1, Cuts { long_lines: 1, half_lines: 1 });
    for at in 0..=text.len() {
        let (a, b) = text.as_bytes().split_at(at);
        assert_eq!(door(&[a, b], 20), want, "cut at {at}");
    }
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(door(&bytes, 20), want);
}

#[test]
fn a_line_of_exactly_the_limit_stays_whole_with_either_end() {
    for line in ["12345678\n", "12345678\r\n", "12345678"] {
        let bytes: Vec<&[u8]> = line.as_bytes().chunks(1).collect();
        let (text, cuts) = door(&bytes, 8);
        assert_eq!(cuts.long_lines, 0, "{line:?}");
        assert_eq!(text.iter().filter(|b| **b == b'\n').count(), 1);
        assert_eq!(door(&[line.as_bytes()], 8), (text, cuts));
    }
}

#[test]
fn after_lines_finds_the_end_of_the_nth() {
    assert_eq!(after_lines(b"a\nbb\nc\n", 0), 0);
    assert_eq!(after_lines(b"a\nbb\nc\n", 2), 5);
    assert_eq!(after_lines(b"a\nbb\nc\n", 9), 7);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_bytes_in_any_chunks_give_the_lines_of_the_whole(
        parts in prop::collection::vec(prop::sample::select(vec![
            &b"\n"[..], b"\r", b"\r\n", b"a", b"bcdefg", "é".as_bytes(), "日".as_bytes(),
            "🦀".as_bytes(), b"\xff", b"\x80\x80\x80\x80\x80", b"a fairly long piece of text",
        ]), 0..60),
        cuts in prop::collection::vec(0usize..400, 0..12),
        max_line in 8usize..40,
    ) {
        let input: Vec<u8> = parts.concat();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|c| *c <= input.len()).collect();
        cuts.sort_unstable();
        cuts.push(input.len());
        let mut from = 0;
        let chunks: Vec<&[u8]> = cuts
            .iter()
            .map(|to| &input[std::mem::replace(&mut from, *to)..*to])
            .collect();
        let want = expected(&input, max_line);
        prop_assert_eq!(&door(&chunks, max_line), &want);
        prop_assert_eq!(&door(&[&input], max_line), &want);
    }
}

#[test]
fn text_comes_out_as_lines_and_everything_odd_is_counted() {
    let mut rig = Rig::new(|c| c.max_line_bytes(16));
    let mut source: &[u8] = b"one\r\ntwo\nbad \xff byte\na line that is far too long\nhalf";
    rig.start(receiver::<Str, _>(move |out| {
        while out.read_from(&mut source)? > 0 {}
        out.end_of_stream()?;
        out.buffer().extend_from_slice(b"next\n");
        out.store_buffer()?;
        out.store("single".into())?;
        out.set_half_lines(HalfLines::Drop);
        out.store_bytes("gone")?;
        out.add_metric(counters::RECONNECTS, 2);
        Ok(())
    }));
    rig.heard.wait_for("stopped", 1);
    let mut lines: Vec<Str> = rig.take();
    lines.sort();
    let want = [
        "a line that is f",
        "ar too long",
        "bad \u{fffd} byte",
        "half",
        "next",
        "one",
        "single",
        "two",
    ];
    assert_eq!(lines, want);
    assert_eq!(rig.counter(counters::INVALID_UTF8), 1);
    assert_eq!(rig.counter(counters::LONG_LINES), 1);
    assert_eq!(rig.counter(counters::HALF_LINES), 2);
    assert_eq!(rig.counter(counters::RECONNECTS), 2);
    assert_eq!(rig.counter(counters::RECORDS), 8);
}

#[test]
fn text_is_cut_into_blocks_by_size_and_keeps_its_order() {
    let mut rig = Rig::new(|c| c);
    rig.start(receiver::<Str, _>(|out| {
        let mut n = 0u32;
        let chunks: Vec<String> = (0..24)
            .map(|_| {
                (0..50_000)
                    .map(|_| {
                        n += 1;
                        format!("{n:>15}\n")
                    })
                    .collect()
            })
            .collect();
        for c in chunks {
            out.store_bytes(c)?;
        }
        Ok(())
    }));
    rig.heard.wait_for("stopped", 1);
    assert_eq!(rig.counter(counters::BLOCKS), 3);
    let m = rig.store.metrics();
    assert!(m.memory_bytes < 24 * 50_000 * 16 + 2 * (1 << 20), "{m:?}");
    let lines: Vec<Str> = rig.take();
    assert_eq!(lines.len(), 1_200_000);
    assert!(lines.is_sorted());
}

#[test]
fn strs_with_line_ends_inside_stay_records() {
    let mut rig = Rig::new(|c| c);
    rig.start(receiver::<Str, _>(|out| {
        out.store_block([Str::from("a\nb"), Str::from("c\r")])?;
        out.store_block([Str::from("d"), Str::from("")])?;
        Ok(())
    }));
    rig.heard.wait_for("stopped", 1);
    assert_eq!(rig.take::<Str>(), ["a\nb", "c\r", "d", ""]);
}

#[test]
fn the_rate_limit_counts_lines() {
    let mut rig = Rig::new(|c| c.receiver_max_rate(10));
    rig.start(receiver::<Str, _>(|out| {
        out.store_bytes("line\n".repeat(45))?;
        Ok(())
    }));
    rig.tick_until(|| rig.heard.count("stopped") == 1);
    assert!(rig.clock.now() >= Time::from_millis(4_500).into());
    assert_eq!(rig.take::<Str>().len(), 45);
}
