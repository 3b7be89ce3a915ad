//! How many cases the oracles try, and under which seed: a fixed number under a new seed each time, or what
//! the environment says.

use std::hash::{BuildHasher, RandomState};

use proptest::test_runner::{Config, RngSeed};

/// Cases in all properties together.
const CASES: &str = "BROOKLET_ORACLE_CASES";
/// The seed that they are made from.
const SEED: &str = "BROOKLET_ORACLE_SEED";

/// What all properties of the oracles try together when nothing is said.
const ALL: u32 =
    super::oracle::ALL_CASES + super::stateful::ALL_CASES + super::rdd_ops::oracle::ALL_CASES;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: `{text}` is no number")))
}

/// How many of the cases asked for belong to a property that tries `share` when nothing is said.
pub fn cases(share: u32) -> u32 {
    let Some(all) = variable(CASES) else { return share };
    u32::try_from((all * u64::from(share)).div_ceil(u64::from(ALL))).unwrap_or(u32::MAX)
}

/// For the property `name`; tells the seed, so that what fails can be run again.
pub fn config(name: &str, share: u32) -> Config {
    let cases = cases(share);
    let seed = variable(SEED).unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("oracle: {cases} cases, seed {seed}, {name}");
    Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_time: 120_000,
        ..Config::default()
    }
}
