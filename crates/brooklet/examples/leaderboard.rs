//! A leaderboard: points that players win come over a TCP connection, and the best players of all time are
//! shown, in the terminal and live on a page that the program serves itself.
//!
//! Run a server in one terminal, `nc -lk 9999`, and this in another:
//!
//! ```text
//! cargo run --release -p brooklet --example leaderboard -- localhost 9999
//! ```
//!
//! and open the address that it prints; a third argument, such as `127.0.0.1:8080`, says where the page is to
//! be. Points are a line with a player and a number, which may be negative:
//!
//! ```text
//! ada 30
//! grace 45
//! ```

use brooklet::prelude::*;

/// How many players are shown.
const SHOWN: usize = 5;

// Names come from anywhere: they are set as text, never as markup.
const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Leaderboard</title>
<style>
  :root { color-scheme: light dark; font: 1.2rem/1.5 system-ui, sans-serif; }
  body { max-width: 30rem; margin: 1rem auto; padding: 0 1rem; }
  li { display: flex; justify-content: space-between; gap: 1rem; font-variant-numeric: tabular-nums; }
  span { overflow-wrap: anywhere; }
</style>
<h1>Leaderboard</h1>
<p id="state" role="status">connecting</p>
<ol id="players"></ol>
<script>
  "use strict";
  const say = text => document.getElementById("state").textContent = text;
  const events = new EventSource("/streams/leaders/events");
  events.onopen = () => say("live");
  events.onerror = () => say("the connection is lost; trying again");
  events.addEventListener("end", () => { events.close(); say("the game is over"); });
  events.onmessage = e => document.getElementById("players").replaceChildren(
    ...JSON.parse(e.data).values.map(player => {
      const row = document.createElement("li");
      for (const text of player) row.appendChild(document.createElement("span")).textContent = text;
      return row;
    }));
</script>
</html>
"#;

fn parse(line: Str) -> Result<(Str, i64), BoxError> {
    let (player, points) =
        line.rsplit_once(" ").ok_or_else(|| format!("`{line}` has no points"))?;
    Ok((player, points.parse()?))
}

fn main() -> brooklet::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(port) = args.get(1).and_then(|p| p.parse().ok()) else {
        eprintln!("usage: leaderboard HOST PORT [ADDRESS OF THE PAGE]");
        std::process::exit(2);
    };

    let ssc = StreamingContext::new(Conf::new("leaderboard"), seconds(1))?;
    ssc.serve_at(args.get(2).map_or("127.0.0.1:0", String::as_str))?;
    ssc.serve_page("/", "text/html; charset=utf-8", PAGE);

    // Lines that have no points are left out and counted.
    let won = ssc.socket_text_stream(&args[0], port).try_map_on(OnError::Skip, parse);
    let scores = won.map_with_state(|_, points: Option<i64>, score: &mut State<i64>| {
        score.update(score.get().unwrap_or(&0) + points.unwrap_or(0));
    });
    let leaders = scores.state_snapshots().transform(|scores| {
        let best = scores.top_by(SHOWN, |(a, n), (b, m)| n.cmp(m).then_with(|| b.cmp(a)))?;
        Ok::<_, Error>(scores.context().parallelize(best, 1))
    });
    leaders.print();
    leaders.serve("leaders");
    ssc.start()?;
    if let Some(address) = ssc.http_address() {
        println!("the leaderboard is at http://{address}/");
    }
    ssc.await_termination()
}
