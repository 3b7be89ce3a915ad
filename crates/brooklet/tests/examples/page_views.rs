//! `page_view_generator` and `page_view_stream`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use brooklet_testkit::TestTcpServer;

use super::clickstream::counts;
use super::{Example, pair};

/// Page, status, postal code, user.
type View = (String, u16, u32, u32);

/// Views of three pages by twelve users. Of the views in 94117 5 % fail, in 94709 10 %, in 10011 none.
fn views() -> Vec<View> {
    let view = |i: u32| {
        let page = ["index", "news", "contact"][(i * i % 3) as usize];
        let zip_code = [94_709, 94_117, 10_011][(i % 3) as usize];
        let failed =
            zip_code == 94_709 && i.is_multiple_of(10) || zip_code == 94_117 && i % 20 == 1;
        let status = if failed { 404 } else { 200 };
        (format!("http://foo.com/{page}"), status, zip_code, i % 12 + 1)
    };
    (0..600).map(view).collect()
}

fn text(views: &[View]) -> String {
    let lines =
        views.iter().map(|(url, status, zip, user)| format!("{url}\t{status}\t{zip}\t{user}\n"));
    lines.collect::<String>() + "this is no view\nhttp://foo.com/news\t200\t94117\tnobody\n"
}

/// A server of these views, and the program that shows this figure of them.
fn figure(name: &str, views: &[View]) -> (TestTcpServer, Example) {
    let server = TestTcpServer::serving(text(views)).unwrap();
    let example =
        Example::start("page_view_stream", &[name, "127.0.0.1", &server.port().to_string()]);
    (server, example)
}

/// The sums of all pages up to one that is empty, when there were at least `total`.
fn summed(example: &mut Example, total: u64) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::<String, u64>::new();
    loop {
        let lines = example.page().1;
        for line in &lines {
            let (key, n) = pair(line).unwrap_or_else(|| panic!("{line}"));
            *sums.entry(key).or_default() += n;
        }
        if lines.is_empty() && sums.values().sum::<u64>() >= total {
            return sums;
        }
    }
}

#[test]
fn page_counts_are_those_of_all_views() {
    let (_server, mut example) = figure("pageCounts", &views());
    assert_eq!(summed(&mut example, 600), counts(views().into_iter().map(|v| v.0)));
}

#[test]
fn sliding_page_counts_have_each_view_in_five_windows() {
    let (_server, mut example) = figure("slidingPageCounts", &views());
    let mut expected = counts(views().into_iter().map(|v| v.0));
    expected.values_mut().for_each(|n| *n *= 5);
    assert_eq!(summed(&mut example, 5 * 600), expected);
}

#[test]
fn error_rates_are_exact_and_high_ones_are_marked() {
    let (_server, mut example) = figure("errorRatePerZipCode", &views());
    let mut expected = BTreeMap::new();
    for (_, status, zip_code, _) in views() {
        let (failed, all) = expected.entry(zip_code).or_insert((0u64, 0u64));
        *failed += u64::from(status != 200);
        *all += 1;
    }
    assert_eq!(expected, [(10_011, (0, 200)), (94_117, (10, 200)), (94_709, (20, 200))].into());
    let mut seen = BTreeMap::new();
    // The window is longer than it takes to read the views.
    while seen != expected {
        seen.clear();
        for line in example.page().1 {
            let words: Vec<&str> = line.trim_matches('"').split(' ').collect();
            let (["of", "="], mark) = ([words[2], words[4]], words.get(6)) else {
                panic!("{line}")
            };
            let zip_code = words[0].strip_suffix(':').unwrap().parse::<u32>().unwrap();
            let (failed, all): (u64, u64) = (words[1].parse().unwrap(), words[3].parse().unwrap());
            let rate = failed as f64 / all as f64;
            assert_eq!(words[5], format!("{rate:.3}"), "{line}");
            assert_eq!(mark, (20 * failed > all).then_some(&"**"), "{line}");
            assert!(seen.insert(zip_code, (failed, all)).is_none(), "{zip_code} twice");
        }
    }
}

/// The number of the next page of `activeUserCount`.
fn active(example: &mut Example) -> u64 {
    let (_, lines) = example.page();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let n = line.trim_matches('"').strip_suffix(" active users");
    n.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

#[test]
fn active_users_are_counted_once() {
    let (_server, mut example) = figure("activeUserCount", &views());
    // The window is longer than it takes to read the views, of which each user has fifty.
    loop {
        let n = active(&mut example);
        assert!(n <= 12, "{n} active users");
        if n == 12 {
            break;
        }
    }
}

/// The next line of `popularUsersSeen` with a name, without the headers of batches before.
fn name(example: &mut Example) -> String {
    loop {
        let line = example.line();
        if !line.starts_with("Popular users seen at ") {
            return line;
        }
    }
}

#[test]
fn popular_users_are_seen_by_name_ten_in_a_batch() {
    // Six views of users with a name, so they are shown in whatever batches they come.
    let few: Vec<View> = views().into_iter().filter(|v| v.3 > 3).collect();
    let known =
        [1, 3, 1, 2, 1, 2].map(|user| ("http://foo.com/index".to_string(), 200, 94_709, user));
    let all: Vec<View> = few.iter().cloned().chain(known).chain(few.clone()).collect();
    let (server, mut example) = figure("popularUsersSeen", &all);
    let seen: Vec<String> = (0..6).map(|_| name(&mut example)).collect();
    let expected = [("Ada", 3), ("Edsger", 1), ("Grace", 2)].map(|(name, n)| (name.to_string(), n));
    assert_eq!(counts(seen.into_iter()), expected.into());

    // Many in one batch: ten are shown.
    server.send("http://foo.com/index\t200\t94709\t2\n".repeat(500));
    let mut in_batch = 0;
    loop {
        let line = example.line();
        if line == "Grace" {
            in_batch += 1;
            assert!(in_batch <= 10);
            continue;
        }
        assert!(line.starts_with("Popular users seen at "), "{line}");
        if in_batch == 10 {
            break;
        }
        in_batch = 0;
    }
}

/// A running generator and its port.
fn generator(per_second: &str) -> (Example, String) {
    let mut generator = Example::start("page_view_generator", &["0", per_second]);
    let line = generator.line();
    let port = line.strip_prefix(&format!("serving {per_second} views a second at 127.0.0.1:"));
    let port = port.unwrap_or_else(|| panic!("{line}")).to_string();
    (generator, port)
}

#[test]
fn page_view_generator_gives_each_client_views_of_its_own() {
    let (_generator, port) = generator("5000");
    let clients: Vec<Vec<String>> = (0..2)
        .map(|_| {
            let client = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
            BufReader::new(client).lines().take(3_000).map(Result::unwrap).collect()
        })
        .collect();
    assert_ne!(clients[0], clients[1]);
    for lines in clients {
        let mut views = Vec::new();
        for line in &lines {
            let fields: Vec<&str> = line.split('\t').collect();
            let [page, status, zip_code, user] = fields[..] else { panic!("{line}") };
            assert!(["200", "404"].contains(&status), "{line}");
            assert!(["94709", "94117", "10011"].contains(&zip_code), "{line}");
            assert!((1..=100).contains(&user.parse::<u32>().unwrap()), "{line}");
            views.push(page.strip_prefix("http://foo.com/").unwrap_or_else(|| panic!("{line}")));
        }
        let pages = counts(views.into_iter());
        assert_eq!(pages.keys().copied().collect::<Vec<_>>(), ["contact", "index", "news"]);
        // Expected are 300, 2100 and 600.
        assert!(pages["index"] > pages["news"] && pages["news"] > pages["contact"], "{pages:?}");
    }
}

#[test]
fn page_view_stream_shows_what_the_generator_makes() {
    let (_generator, port) = generator("1000");
    let mut example = Example::start("page_view_stream", &["activeUserCount", "127.0.0.1", &port]);
    loop {
        let n = active(&mut example);
        assert!(n <= 100, "{n} active users");
        if n == 100 {
            break;
        }
    }
}

#[test]
fn page_view_examples_say_how_they_are_used() {
    let wrong: [(&str, &[&str]); 5] = [
        ("page_view_stream", &["pageCounts", "localhost"]),
        ("page_view_stream", &["page_counts", "localhost", "9999"]),
        ("page_view_generator", &[]),
        ("page_view_generator", &["port", "10"]),
        ("page_view_generator", &["0", "0"]),
    ];
    for (name, args) in wrong {
        assert_eq!(Example::start(name, args).code(), Some(2), "{name} {args:?}");
    }
}
