//! A TCP server of random page views, for `page_view_stream`: so many a second for each client.
//!
//! ```text
//! cargo run --release -p brooklet --example page_view_generator -- 44444 10
//! ```
//!
//! A view is a line of four fields with tabs between: page, status, postal code, user.
//!
//! ```text
//! http://foo.com/news     200     94117   67
//! ```

use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use brooklet::millis;

/// Values, and how many of a hundred views have them.
const PAGES: [(&str, u64); 3] = [("index", 70), ("news", 20), ("contact", 10)];
const STATUSES: [(&str, u64); 2] = [("200", 95), ("404", 5)];
const ZIP_CODES: [(&str, u64); 3] = [("94709", 50), ("94117", 30), ("10011", 20)];
/// Users are numbers from 1 to this.
const USERS: u64 = 100;
/// Pauses between the views of a client, each second.
const PAUSES: u64 = 50;

/// Random numbers (xorshift), others in each run and for each client.
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        Dice(RandomState::new().hash_one("views") | 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % n
    }

    fn pick<'a>(&mut self, values: &[(&'a str, u64)]) -> &'a str {
        let mut at = self.below(100);
        for (value, of_hundred) in values {
            if at < *of_hundred {
                return value;
            }
            at -= of_hundred;
        }
        values[0].0
    }
}

/// Sends views to a client until it goes away.
fn send_views(client: TcpStream, per_second: u64) -> io::Result<()> {
    let (mut out, mut dice, mut due) = (BufWriter::new(client), Dice::new(), 0);
    loop {
        due += per_second;
        for _ in 0..due / PAUSES {
            let (page, status) = (dice.pick(&PAGES), dice.pick(&STATUSES));
            let (zip_code, user) = (dice.pick(&ZIP_CODES), 1 + dice.below(USERS));
            writeln!(out, "http://foo.com/{page}\t{status}\t{zip_code}\t{user}")?;
        }
        due %= PAUSES;
        out.flush()?;
        thread::sleep(millis(1000 / PAUSES));
    }
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let port = args.first().and_then(|port| port.parse::<u16>().ok());
    let rate = args.get(1).and_then(|n| n.parse().ok()).filter(|n| (1..=10_000_000).contains(n));
    let (Some(port), Some(per_second)) = (port, rate) else {
        eprintln!("usage: page_view_generator PORT VIEWS-PER-SECOND (up to ten million)");
        std::process::exit(2);
    };
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("serving {per_second} views a second at {}", listener.local_addr()?);
    for client in listener.incoming() {
        let client = client?;
        // An error says that the client has gone away.
        thread::spawn(move || send_views(client, per_second));
    }
    Ok(())
}
