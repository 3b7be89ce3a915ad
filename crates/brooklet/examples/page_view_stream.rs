//! What visitors do on a web site: one figure of the page views that come over a TCP connection, one view a
//! line.
//!
//! Run the generator of views in one terminal, and this in another:
//!
//! ```text
//! cargo run --release -p brooklet --example page_view_generator -- 44444 10
//! cargo run --release -p brooklet --example page_view_stream -- errorRatePerZipCode localhost 44444
//! ```
//!
//! | figure | what it shows |
//! |---|---|
//! | `pageCounts` | views of each page, each second |
//! | `slidingPageCounts` | views of each page in the last 10 seconds, every 2 seconds |
//! | `errorRatePerZipCode` | the share of views in each postal code with another status than 200, in the last 30 seconds, every 2 seconds; `**` marks more than 5 % |
//! | `activeUserCount` | how many users came in the last 15 seconds, every 2 seconds |
//! | `popularUsersSeen` | the first ten names of users, each second, by a table that doesn't change |

use brooklet::prelude::*;
use serde::{Deserialize, Serialize};

/// Above this share of failed views a postal code is marked.
const TOO_MANY: f64 = 0.05;
/// Popular users that are shown.
const SHOWN: usize = 10;
const POPULAR_USERS: [(u32, &str); 3] = [(1, "Ada"), (2, "Grace"), (3, "Edsger")];
const FIGURES: [&str; 5] = [
    "pageCounts",
    "slidingPageCounts",
    "errorRatePerZipCode",
    "activeUserCount",
    "popularUsersSeen",
];

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PageView {
    url: Str,
    status: u16,
    zip_code: u32,
    user: u32,
}

fn parse(line: Str) -> Result<PageView, BoxError> {
    let fields: Vec<Str> = line.split("\t").collect();
    let [url, status, zip_code, user] = fields.as_slice() else {
        return Err(format!("`{line}` isn't page, status, postal code, and user").into());
    };
    let url = url.clone();
    Ok(PageView { url, status: status.parse()?, zip_code: zip_code.parse()?, user: user.parse()? })
}

fn page_counts(views: &DStream<PageView>) {
    views.map(|view| view.url).count_by_value().print();
}

fn sliding_page_counts(views: &DStream<PageView>) {
    views.map(|view| view.url).count_by_value_and_window(seconds(10), seconds(2)).print();
}

fn error_rate_per_zip_code(views: &DStream<PageView>) {
    let recent = views.window(seconds(30), seconds(2));
    let statuses = recent.map(|view| (view.zip_code, view.status)).group_by_key();
    let rates = statuses.map(|(zip_code, statuses)| {
        let failed = statuses.iter().filter(|status| **status != 200).count();
        let rate = failed as f64 / statuses.len() as f64;
        let mark = if rate > TOO_MANY { " **" } else { "" };
        format!("{zip_code}: {failed} of {} = {rate:.3}{mark}", statuses.len())
    });
    rates.print();
}

fn active_user_count(views: &DStream<PageView>) {
    let users = views.window(seconds(15), seconds(2)).map(|view| view.user);
    users.transform(|users| users.distinct()).count().map(|n| format!("{n} active users")).print();
}

fn popular_users_seen(ssc: &StreamingContext, views: &DStream<PageView>) {
    let names = POPULAR_USERS.map(|(user, name)| (user, name.to_string()));
    let names = ssc.context().parallelize(names, 2);
    views.map(|view| (view.user, ())).foreach_rdd(move |seen, time| {
        println!("Popular users seen at {time}:");
        for name in seen.join(&names).map(|(_, ((), name))| name).take(SHOWN)? {
            println!("{name}");
        }
        Ok::<_, Error>(())
    });
}

fn main() -> brooklet::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let port = args.get(2).and_then(|port| port.parse().ok());
    let (Some(figure), Some(host), Some(port)) = (args.first(), args.get(1), port) else {
        eprintln!("usage: page_view_stream FIGURE HOST PORT; figures are {}", FIGURES.join(", "));
        std::process::exit(2);
    };

    let ssc = StreamingContext::new(Conf::new("page-view-stream"), seconds(1))?;
    // Lines that are no views are left out and counted.
    let views = ssc.socket_text_stream(host, port).try_map_on(OnError::Skip, parse).boxed();
    match figure.as_str() {
        "pageCounts" => page_counts(&views),
        "slidingPageCounts" => sliding_page_counts(&views),
        "errorRatePerZipCode" => error_rate_per_zip_code(&views),
        "activeUserCount" => active_user_count(&views),
        "popularUsersSeen" => popular_users_seen(&ssc, &views),
        other => {
            eprintln!("`{other}` is no figure: use one of {}", FIGURES.join(", "));
            std::process::exit(2);
        }
    }
    ssc.start()?;
    ssc.await_termination()
}
