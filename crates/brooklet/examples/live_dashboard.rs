//! Words of a socket, counted once a second and shown live on a page that the program serves itself.
//!
//! ```text
//! cargo run --release -p brooklet --example live_dashboard
//! ```
//!
//! and open the address that it prints. The text is its own; for yours, start a server such as
//! `nc -lk 9999` and say where it is, and, if you like, where the page is to be:
//!
//! ```text
//! cargo run --release -p brooklet --example live_dashboard -- localhost 9999 127.0.0.1:8080
//! ```

use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use brooklet::prelude::*;

const PAGE: &str = include_str!("live_dashboard.html");

fn main() -> brooklet::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (host, port) = match args.as_slice() {
        [] => ("127.0.0.1", feed()?),
        [host, port, ..] => match port.parse() {
            Ok(port) => (host.as_str(), port),
            Err(_) => return Err(Error::Usage(format!("`{port}` is no port: use a number"))),
        },
        [_] => return Err(Error::Usage("arguments: [HOST PORT [ADDRESS OF THE PAGE]]".into())),
    };

    let ssc = StreamingContext::new(Conf::new("live-dashboard"), seconds(1))?;
    ssc.serve_at(args.get(2).map_or("127.0.0.1:0", String::as_str))?;
    ssc.serve_page("/", "text/html; charset=utf-8", PAGE);
    let words = ssc.socket_text_stream(host, port).flat_map(|line| line.split_whitespace());
    let counts = words.map(|word| (word, 1)).reduce_by_key(|a, b| a + b);
    counts.serve("counts");
    ssc.start()?;
    if let Some(address) = ssc.http_address() {
        println!("the page is at http://{address}/");
    }
    ssc.await_termination()
}

/// Sends some text to every client, for ever.
fn feed() -> brooklet::Result<u16> {
    const LINES: [&str; 5] = [
        "a brook runs into a river",
        "the river runs into the sea",
        "rain falls on the hill and the brook begins",
        "from the hill to the sea runs the water",
        "and the rain comes from the sea again",
    ];
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { continue };
            thread::spawn(move || {
                for line in LINES.iter().cycle() {
                    // The client may leave at any time.
                    if writeln!(client, "{line}").is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    Ok(port)
}
