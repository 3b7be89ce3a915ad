//! What visitors do on a web site: page views come over a TCP connection, one a line, and one figure of
//! them is shown every second.
//!
//! ```text
//! cargo run --release -p brooklet --example clickstream -- page_counts
//! cargo run --release -p brooklet --example clickstream -- error_rates localhost 9999
//! ```
//!
//! The first argument names the figure: `page_counts` (views of each page), `error_rates` (the share of
//! views in each postal code that weren't answered with status 200, marked with `**` above 5 %), or
//! `popular_users` (the users with most views, by their names from a table that doesn't change). Host and
//! port say where the views come from; without them the program makes its own, always the same ones, and
//! serves them on a port of this machine.
//!
//! A view is four fields with tabs between: page, status, postal code, user.
//!
//! ```text
//! http://example.com/index.html   200     94709   17
//! ```

use std::io::{self, BufWriter, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;

use brooklet::Error;
use brooklet::prelude::*;
use serde::{Deserialize, Serialize};

/// Views a second that the program makes of its own.
const VIEWS_PER_SECOND: u64 = 200;
/// Above this share of failed views a postal code is marked.
const TOO_MANY: f64 = 0.05;
/// Users that are shown.
const SHOWN: usize = 10;

const PAGES: [(&str, u64); 4] =
    [("index.html", 60), ("news.html", 25), ("shop.html", 12), ("contact.html", 3)];
const ZIP_CODES: [(u32, u64); 3] = [(94_709, 50), (94_117, 30), (10_011, 20)];
const STATUSES: [(u16, u64); 2] = [(200, 94), (404, 6)];
const NAMES: [&str; 12] = [
    "Ada",
    "Barbara",
    "Charles",
    "Donald",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "Ivan",
    "Joan",
    "Katherine",
    "Leslie",
];
/// Users without a name in the table come too.
const USERS: u64 = 100;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PageView {
    url: Str,
    status: u16,
    zip_code: u32,
    user: u32,
}

fn parse(line: Str) -> Result<PageView, BoxError> {
    let mut fields = line.split("\t");
    let mut next = |what: &str| fields.next().ok_or(format!("`{line}` has no {what}"));
    Ok(PageView {
        url: next("page")?,
        status: next("status")?.parse()?,
        zip_code: next("postal code")?.parse()?,
        user: next("user")?.parse()?,
    })
}

fn page_counts(views: &DStream<PageView>) {
    views.map(|view| view.url).count_by_value().print();
}

fn error_rates(views: &DStream<PageView>) {
    let answers = views.map(|view| (view.zip_code, view.status != 200));
    let rates = answers.combine_by_key(
        |failed| (u64::from(failed), 1),
        |(failures, all), failed| (failures + u64::from(failed), all + 1),
        |a, b| (a.0 + b.0, a.1 + b.1),
    );
    rates.foreach_rdd(|rates, time| {
        println!("Failed views by postal code at {time}:");
        let mut rates = rates.collect()?;
        rates.sort();
        for (zip_code, (failures, all)) in rates {
            let rate = failures as f64 / all as f64;
            let mark = if rate > TOO_MANY { " **" } else { "" };
            println!("{zip_code}: {failures} of {all} = {:.1} %{mark}", rate * 100.0);
        }
        Ok::<_, Error>(())
    });
}

fn popular_users(ssc: &StreamingContext, views: &DStream<PageView>) {
    let names = (0..).zip(NAMES).map(|(user, name)| (user, name.to_string()));
    let users = ssc.constant_stream(&ssc.context().parallelize(names, 2));
    let seen = views.map(|view| (view.user, 1u64)).reduce_by_key(|a, b| a + b);
    seen.join(&users).foreach_rdd(|seen, time| {
        println!("Popular users at {time}:");
        let mut seen = seen.map(|(_, (views, name))| (views, name)).collect()?;
        seen.sort_by(|a, b| (b.0, &a.1).cmp(&(a.0, &b.1)));
        for (views, name) in seen.into_iter().take(SHOWN) {
            println!("{name}: {views}");
        }
        Ok::<_, Error>(())
    });
}

/// Random numbers that are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % n
    }

    /// One of these, each as often as its weight says.
    fn pick<T: Copy>(&mut self, weighted: &[(T, u64)]) -> T {
        let mut at = self.below(weighted.iter().map(|(_, w)| w).sum());
        let chosen = weighted.iter().find(|(_, w)| {
            let here = at < *w;
            at = at.saturating_sub(*w);
            here
        });
        chosen.unwrap_or(&weighted[0]).0
    }
}

/// Sends views to a client until it goes away.
fn send_views(client: TcpStream) -> io::Result<()> {
    let (mut out, mut dice) = (BufWriter::new(client), Dice(42));
    loop {
        for _ in 0..VIEWS_PER_SECOND / 10 {
            let (page, status) = (dice.pick(&PAGES), dice.pick(&STATUSES));
            let (zip_code, user) = (dice.pick(&ZIP_CODES), dice.below(USERS));
            writeln!(out, "http://example.com/{page}\t{status}\t{zip_code}\t{user}")?;
        }
        out.flush()?;
        thread::sleep(millis(100));
    }
}

/// Serves views on a port of this machine.
fn serve_views() -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // The client has gone away: the next one begins anew.
            thread::spawn(|| send_views(client));
        }
    });
    Ok(port)
}

fn run(figure: &str, host: &str, port: u16) -> brooklet::Result<()> {
    let ssc = StreamingContext::new(Conf::new("clickstream"), seconds(1))?;
    let lines = ssc.socket_text_stream(host, port);
    // Lines that are no views are left out and counted.
    let views = lines.try_map_on(OnError::Skip, parse).boxed();
    match figure {
        "page_counts" => page_counts(&views),
        "error_rates" => error_rates(&views),
        _ => popular_users(&ssc, &views),
    }
    ssc.start()?;
    ssc.await_termination()
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let figure = args.next().unwrap_or_else(|| "page_counts".into());
    if !["page_counts", "error_rates", "popular_users"].contains(&figure.as_str()) {
        eprintln!(
            "`{figure}` is no figure: use page_counts, error_rates or popular_users, then host and port \
             of the views, if they aren't to be made here"
        );
        return ExitCode::from(2);
    }
    let address = match args.next() {
        Some(host) => match args.next().and_then(|p| p.parse().ok()) {
            Some(port) => Ok((host, port)),
            None => {
                eprintln!(
                    "the address of the views needs a host and a port, as in: localhost 9999"
                );
                return ExitCode::from(2);
            }
        },
        None => serve_views().map(|port| ("127.0.0.1".into(), port)).map_err(Error::from),
    };
    match address.and_then(|(host, port)| run(&figure, &host, port)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
