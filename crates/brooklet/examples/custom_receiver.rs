//! A receiver of one's own: temperatures from a pretended sensor, averaged per batch.
//!
//! ```text
//! cargo run --release -p brooklet --example custom_receiver
//! ```

use brooklet::prelude::*;

/// Gives `left` readings, one every two milliseconds.
struct Sensor {
    left: u32,
}

impl Receiver for Sensor {
    type Item = (String, f64);

    fn run(&mut self, out: &mut Store<(String, f64)>) -> Result<(), BoxError> {
        while self.left > 0 && out.sleep(millis(2)) {
            let room = if self.left.is_multiple_of(2) { "kitchen" } else { "cellar" };
            let degrees = 18.0 + f64::from(self.left % 7);
            out.store((room.to_string(), degrees))?;
            self.left -= 1;
        }
        Ok(()) // the source has ended; an error would be reported and `run` called again
    }
}

fn main() -> brooklet::Result<()> {
    let ssc = StreamingContext::new(Conf::new("custom-receiver"), millis(250))?;
    let readings = ssc.receiver_stream(Sensor { left: 500 });
    readings
        .map(|(room, degrees)| (room, (degrees, 1u32)))
        .reduce_by_key(|a, b| (a.0 + b.0, a.1 + b.1))
        .map(|(room, (sum, n))| {
            format!("{room}: {:.1} degrees on average of {n} readings", sum / f64::from(n))
        })
        .print();
    ssc.start()?;
    ssc.await_receivers()?;
    ssc.stop(true)
}
