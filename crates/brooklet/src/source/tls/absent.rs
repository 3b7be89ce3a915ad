//! Builds without the feature `tls`.

use std::convert::Infallible;
use std::io;
use std::net::TcpStream;

use super::super::connection::Connection;
use super::TlsOptions;
use crate::{Error, Result};

/// Can't be made.
#[derive(Clone)]
pub(in crate::source) struct Client(Infallible);

impl Client {
    pub(in crate::source) fn new(_: &TlsOptions, host: &str) -> Result<Client> {
        Err(Error::Config {
            key: "SocketOptions::tls".into(),
            problem: format!(
                "this build has no TLS, so it can't connect to `{host}` that way: build with \
                 `brooklet = {{ features = [\"tls\"] }}` (needs a C compiler)"
            ),
        })
    }

    pub(in crate::source) fn connect(&self, _: TcpStream) -> io::Result<Connection> {
        match self.0 {}
    }
}
