//! `sketches`: exact figures are those counted here, the others are as near as promised, and they don't depend
//! on the batches that the records came in.

use brooklet_testkit::TestTcpServer;

use super::Example;

/// A figure, what the sketch says, and how far off that is, in percent.
type Figure = (u64, u64, f64);

fn figure(line: &str) -> (String, Figure) {
    let (what, rest) = line.trim_start().split_once(": ").unwrap_or_else(|| panic!("{line}"));
    let mut numbers =
        rest.split([' ', ',', '(']).filter(|w| w.starts_with(|c: char| !c.is_alphabetic()));
    let mut next = || numbers.next().unwrap_or_else(|| panic!("{line}"));
    let (exact, about) = (next().parse::<u64>().unwrap(), next().parse::<u64>().unwrap());
    let off = next();
    let expected = 100.0 * (about as f64 / exact as f64 - 1.0);
    assert_eq!(off, format!("{expected:+.1}"), "{line}");
    (what.to_string(), (exact, about, expected))
}

/// The next part with this title: the users, then the busiest.
fn part(example: &mut Example, title: &str, busiest: usize) -> (Figure, Vec<(String, Figure)>) {
    while !example.line().starts_with(title) {}
    let (what, users) = figure(&example.line());
    assert_eq!(what, "users");
    (users, (0..busiest).map(|_| figure(&example.line())).collect())
}

/// The last figures over all time, when all of the text is there: `n` users, these the busiest.
fn all_time(
    example: &mut Example,
    n: u64,
    busiest: &[(&str, u64)],
) -> (Figure, Vec<(String, Figure)>) {
    loop {
        let (users, seen) = part(example, "All time", busiest.len());
        let exact: Vec<_> = seen.iter().map(|(user, f)| (user.as_str(), f.0)).collect();
        if users.0 == n && exact == busiest {
            return (users, seen);
        }
    }
}

#[test]
fn sketches_are_near_and_the_same_in_whatever_batches() {
    const BUSIEST: [(&str, u64); 3] = [("ada", 400), ("grace", 250), ("流", 250)];
    let rare =
        |range: std::ops::Range<u32>| range.map(|i| format!("user{i}\n")).collect::<String>();
    let halves = [
        format!("{}{}", "ada\n".repeat(300), rare(0..3_000)),
        format!("{}{}{}", rare(2_000..5_000), "grace\n流\n".repeat(250), "ada\n".repeat(100)),
    ];
    let server = TestTcpServer::serving(halves.concat()).unwrap();
    let mut example = Example::start("sketches", &["127.0.0.1", &server.port().to_string()]);
    let (users, busiest) = all_time(&mut example, 5_003, &BUSIEST);
    // Three standard deviations, and e / 272 of 7000 records.
    assert!(users.2.abs() < 4.9, "{users:?}");
    for (user, (exact, about, _)) in &busiest {
        assert!((*exact..=exact + 70).contains(about), "{user}: {exact}, at most {about}");
    }

    let [first, second] = halves;
    let server = TestTcpServer::script().send(first).stall().send(second).start().unwrap();
    let mut example = Example::start("sketches", &["127.0.0.1", &server.port().to_string()]);
    let (_, batch) = part(&mut example, "Batch ", 1);
    assert_eq!(batch[0].0, "ada");
    server.wait_stalled();
    server.resume();
    assert_eq!(all_time(&mut example, 5_003, &BUSIEST), (users, busiest));
}

#[test]
fn sketches_has_users_of_its_own() {
    let mut example = Example::start("sketches", &[]);
    loop {
        let (users, busiest) = part(&mut example, "All time", 3);
        assert!(users.2.abs() < 4.9, "{users:?}");
        assert!(busiest.iter().all(|(_, (exact, about, _))| about >= exact), "{busiest:?}");
        if users.0 > 500 && busiest[0].1.0 > 50 {
            break;
        }
    }
    assert_eq!(Example::start("sketches", &["localhost"]).code(), Some(2));
}
