//! Puts clicks together to sessions: a user who doesn't click for a while has left, and what he or she did is
//! shown.
//!
//! Run a server in one terminal, `nc -lk 9999`, and this in another:
//!
//! ```text
//! cargo run --release -p brooklet --example sessionization -- localhost 9999 30
//! ```
//!
//! The third argument says after how many seconds without a click a session is over (10 without it). A click is
//! a line with a user and a page:
//!
//! ```text
//! ada /index
//! ada /cart
//! ```
//!
//! When Ada has been away for long enough:
//!
//! ```text
//! ada: clicks 2, seconds 0, from /index to /cart
//! ```

use brooklet::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Session {
    begin: Time,
    end: Time,
    clicks: u64,
    entry: Str,
    exit: Str,
}

/// A click makes a session or a longer one; the end of the time-out gives the session that is over.
fn session(
    time: Time,
    user: &Str,
    page: Option<Str>,
    session: &mut State<Session>,
) -> Option<(Str, Session)> {
    let Some(page) = page else {
        // Nobody has clicked for too long: the state is removed after this call.
        return session.get().map(|over| (user.clone(), over.clone()));
    };
    let longer = match session.get() {
        Some(s) => Session { end: time, clicks: s.clicks + 1, exit: page, ..s.clone() },
        None => Session { begin: time, end: time, clicks: 1, entry: page.clone(), exit: page },
    };
    session.update(longer);
    None
}

fn main() -> brooklet::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let idle = args.get(2).map_or(Some(10), |n| n.parse().ok()).filter(|n| *n > 0);
    let (Some(port), Some(idle)) = (args.get(1).and_then(|p| p.parse().ok()), idle) else {
        eprintln!("usage: sessionization HOST PORT [SECONDS WITHOUT A CLICK]");
        std::process::exit(2);
    };

    let ssc = StreamingContext::new(Conf::new("sessionization"), seconds(1))?;
    let lines = ssc.socket_text_stream(&args[0], port);
    let clicks = lines.flat_map(|line| line.split_once(" ")); // other lines are no clicks
    let spec = StateSpec::new().timeout(seconds(idle));
    clicks.map_with_state_at(spec, session).foreach_rdd(|over, _| {
        for (user, s) in over.collect()? {
            let (clicks, time) = (s.clicks, s.end.since(s.begin).as_secs());
            println!("{user}: clicks {clicks}, seconds {time}, from {} to {}", s.entry, s.exit);
        }
        Ok::<_, Error>(())
    });
    ssc.start()?;
    ssc.await_termination()
}
