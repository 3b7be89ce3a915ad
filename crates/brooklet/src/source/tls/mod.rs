//! TLS for socket streams.

use std::fmt;
use std::path::PathBuf;

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod client;

#[cfg(not(feature = "tls"))]
pub(super) use absent::Client;
#[cfg(feature = "tls")]
pub(super) use client::Client;

/// How a socket stream speaks TLS (1.2 or 1.3); see [`SocketOptions::tls`](super::SocketOptions::tls).
///
/// The server's certificate must be valid now, signed by a trusted authority and made out for the host's
/// name; no option turns that off. Certificates and keys are PEM, as bytes or as files that are read when
/// the context starts; what is wrong with them ends the start.
///
/// Needs a build with the feature `tls`, which takes a C compiler (of `ring`); without it every start of a
/// stream with these options is refused.
///
/// ```
/// use brooklet::source::TlsOptions;
/// let ours = TlsOptions::new()
///     .root_certificates_file("/etc/ssl/company-ca.pem")
///     .client_certificate_files("client.pem", "client.key")
///     .server_name("logs.company.example");
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing by themselves"]
pub struct TlsOptions {
    roots: Vec<Pem>,
    identity: Option<(Pem, Pem)>,
    server_name: Option<String>,
}

impl TlsOptions {
    /// Trusts the authorities that browsers trust (Mozilla's list, as of this build).
    pub fn new() -> TlsOptions {
        TlsOptions::default()
    }

    /// Trusts the authorities of this PEM text, and only those that are given so. May be called for
    /// several.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> TlsOptions {
        self.roots.push(Pem::Bytes(pem.into()));
        self
    }

    /// [`TlsOptions::root_certificates`] from a file.
    pub fn root_certificates_file(mut self, path: impl Into<PathBuf>) -> TlsOptions {
        self.roots.push(Pem::File(path.into()));
        self
    }

    /// Shows this certificate (PEM, with those that lead to its authority) to a server that asks for one;
    /// `key` is its private key (PEM: PKCS #8, PKCS #1 or SEC 1). Default: none.
    pub fn client_certificate(
        mut self,
        chain: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> TlsOptions {
        self.identity = Some((Pem::Bytes(chain.into()), Pem::Bytes(key.into())));
        self
    }

    /// [`TlsOptions::client_certificate`] from files.
    pub fn client_certificate_files(
        mut self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> TlsOptions {
        self.identity = Some((Pem::File(chain.into()), Pem::File(key.into())));
        self
    }

    /// The name (or IP address) that the server's certificate must be made out for. Default: the host that
    /// is connected to.
    pub fn server_name(mut self, name: impl Into<String>) -> TlsOptions {
        self.server_name = Some(name.into());
        self
    }
}

/// A PEM text.
#[derive(Clone)]
#[cfg_attr(not(feature = "tls"), allow(dead_code))]
enum Pem {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl fmt::Debug for Pem {
    /// Not the text: it may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::Bytes(b) => write!(f, "{} bytes", b.len()),
            Pem::File(path) => path.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_printed() {
        let tls = TlsOptions::new().client_certificate("chain", "secret").server_name("x");
        let text = format!("{tls:?}");
        assert!(text.contains("6 bytes") && !text.contains("secret"), "{text}");
    }
}
