//! Settings of the engine: file, environment, `--conf`.

use std::path::PathBuf;

use brooklet::Conf;
use clap::Args;

use crate::error::Failure;

#[derive(Debug, Args)]
pub struct Settings {
    /// Set a setting, as in brooklet.streaming.concurrentJobs=2; may be repeated. Overrides the
    /// environment (BROOKLET_STREAMING_CONCURRENT_JOBS) and the file
    #[arg(long, value_name = "KEY=VALUE")]
    pub conf: Vec<String>,

    /// Read settings from this TOML file [default: the one that BROOKLET_CONF names, else brooklet.toml
    /// if it is there]
    #[arg(long, value_name = "FILE")]
    pub conf_file: Option<PathBuf>,
}

impl Settings {
    pub fn load(&self, app: &str) -> Result<Conf, Failure> {
        let from_file = match &self.conf_file {
            Some(path) => Conf::new(app).with_file(path).and_then(Conf::with_env),
            None => Conf::load(app),
        };
        let wrong = |e: brooklet::Error| Failure::Usage(e.to_string());
        self.conf
            .iter()
            .try_fold(from_file.map_err(wrong)?, |conf, text| conf.with_argument(text))
            .map_err(wrong)
    }
}
