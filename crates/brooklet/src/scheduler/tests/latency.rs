//! Not a test but a measurement: `cargo test --release latency -- --ignored --nocapture`.

use super::*;

struct Nothing;

impl BatchGraph for Nothing {
    fn allocate(&self, _: Time, _: bool) -> Result<Vec<StreamInputInfo>> {
        Ok(vec![StreamInputInfo::new(0, 1)])
    }
    fn has_steps(&self) -> bool {
        true
    }
    fn run_steps(&self, _: Time) -> Result<()> {
        Ok(())
    }
    fn outputs(&self) -> Vec<OutputMeta> {
        vec![OutputMeta { name: "nothing".into(), description: String::new() }]
    }
    fn run_output(&self, _: usize, _: Time) -> Result<()> {
        Ok(())
    }
    fn cancel(&self, _: Time) {}
    fn roll_back(&self, _: Time) {}
    fn completed(&self, _: Time) {}
    fn has_unallocated(&self) -> bool {
        false
    }
    fn stop_inputs(&self, _: bool) {}
    fn stop_graph(&self) {}
}

fn line(what: &str, mut all: Vec<Duration>) {
    all.sort_unstable();
    let q = |p: f64| all[(p * (all.len() - 1) as f64) as usize].as_nanos() as f64 / 1e3;
    println!("{what:32} median {:8.1} µs   p99 {:8.1} µs   max {:8.1} µs", q(0.5), q(0.99), q(1.0));
}

#[test]
#[ignore = "a measurement of ten seconds"]
fn latency_of_empty_batches() {
    let conf = Conf::new("latency");
    let clock = Arc::new(SystemClock::new());
    let s = Scheduler::new(&conf, Duration::from_millis(1), Arc::new(Nothing), clock, "latency");
    let cpu = || {
        let all = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
        let _ = all;
        let mut ns = 0u64;
        for t in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
            let s = std::fs::read_to_string(t.path().join("schedstat")).unwrap_or_default();
            ns += s.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
        ns
    };
    let before = cpu();
    s.start().unwrap();
    assert!(!s.await_stopped(Some(seconds(10))).unwrap());
    let used = cpu() - before;
    let snap = s.metrics().snapshot();
    let all = s.metrics().progress().completed();
    s.stop(true, LIMIT).unwrap();
    println!(
        "batches {}, CPU a batch {:.1} µs",
        snap.total_completed_batches,
        used as f64 / 1e3 / snap.total_completed_batches as f64
    );
    line("tick due -> submitted", all.iter().map(|b| b.generation_delay()).collect());
    line("submitted -> started", all.iter().filter_map(|b| b.scheduling_delay()).collect());
    line("started -> completed", all.iter().filter_map(|b| b.processing_delay()).collect());
}

#[test]
#[ignore = "a measurement"]
fn latency_cpu_of_a_late_burst() {
    // 100 000 ticks are late: no thread sleeps, so wall time is the cost of the scheduler's own work.
    let clock = ManualClock::new(Time::ZERO);
    let conf = Conf::new("burst").max_queued_batches(64);
    let s =
        Scheduler::new(&conf, Duration::from_millis(1), Arc::new(Nothing), clock.clone(), "burst");
    s.start().unwrap();
    let real = SystemClock::new();
    let from = real.now();
    clock.set(Time::from_millis(100_000));
    while s.metrics().gauge("totalCompletedBatches") != Some(100_000) {
        let _ = s.await_stopped(Some(Duration::from_millis(5)));
    }
    println!("{:.2} µs a batch", real.now().since(from).as_nanos() as f64 / 1e8);
    s.stop(true, LIMIT).unwrap();
    let bus = ListenerBus::new("post", Arc::default());
    let from = real.now();
    for i in 0..1_000_000u64 {
        std::hint::black_box(&bus)
            .post(|| Event::StreamingStarted(crate::time::Timestamp::from_nanos(i)));
    }
    println!("{:.2} ns a post that nobody hears", real.now().since(from).as_nanos() as f64 / 1e6);
}
