//! The TLS client, by rustls.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::super::connection::Connection;
use super::{Pem, TlsOptions};
use crate::conf::defaults;
use crate::{Error, Result};

/// What is needed to make TLS connections to one server.
#[derive(Clone)]
pub(in crate::source) struct Client {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
}

impl Client {
    /// Reads the certificates.
    pub(in crate::source) fn new(tls: &TlsOptions, host: &str) -> Result<Client> {
        let name = tls.server_name.as_deref().unwrap_or(host);
        let server = ServerName::try_from(name.to_owned()).map_err(|_| {
            bad("server_name", format!("`{name}` is neither the name of a host nor an IP address"))
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::Bug(format!("TLS versions: {e}")))?
            .with_root_certificates(roots(&tls.roots)?);
        let config = match &tls.identity {
            None => config.with_no_client_auth(),
            Some((chain, key)) => config
                .with_client_auth_cert(
                    certificates(chain, "client_certificate")?,
                    private_key(key)?,
                )
                .map_err(|e| {
                    bad("client_certificate", format!("{chain:?} and the key {key:?}: {e}"))
                })?,
        };
        Ok(Client { config: Arc::new(config), server })
    }

    /// Shakes hands. The errors say what to do.
    pub(in crate::source) fn connect(&self, mut socket: TcpStream) -> io::Result<Connection> {
        let mut tls = ClientConnection::new(self.config.clone(), self.server.clone())
            .map_err(io::Error::other)?;
        socket.set_read_timeout(Some(defaults::CONNECT_TIMEOUT))?;
        socket.set_write_timeout(Some(defaults::CONNECT_TIMEOUT))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).map_err(|e| self.explain(e, true))?;
        }
        socket.set_read_timeout(None)?;
        socket.set_write_timeout(None)?;
        let server = self.server.clone();
        Ok(Box::new(TlsConnection {
            stream: StreamOwned::new(tls, socket),
            client: Client { config: self.config.clone(), server },
        }))
    }

    /// The error in words of the options.
    fn explain(&self, e: io::Error, handshake: bool) -> io::Error {
        let name = self.server.to_str();
        let tls = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let text = match (tls, e.kind()) {
            (Some(rustls::Error::InvalidCertificate(problem)), _) => certificate(problem, &name),
            (Some(rustls::Error::InvalidMessage(problem)), _) if handshake => format!(
                "the server doesn't speak TLS ({problem:?}); is it a plain one? Then leave \
                 `SocketOptions::tls` out"
            ),
            (Some(rustls::Error::AlertReceived(alert)), _) => {
                use rustls::AlertDescription as Alert;
                let advice = match alert {
                    Alert::CertificateRequired => {
                        ": it wants a certificate; give one by `TlsOptions::client_certificate`"
                    }
                    Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown => {
                        ": it doesn't trust the client's certificate (`TlsOptions::client_certificate`)"
                    }
                    Alert::ProtocolVersion | Alert::HandshakeFailure => {
                        ": it has no TLS version or cipher in common with this client"
                    }
                    _ => "",
                };
                format!("the server refused with `{alert:?}`{advice}")
            }
            (None, io::ErrorKind::UnexpectedEof) if handshake => {
                "the server closed the connection during the TLS handshake; does it speak TLS?".into()
            }
            (None, io::ErrorKind::UnexpectedEof) => {
                "the server ended the connection without the end that TLS has: part of the data may be \
                 missing"
                    .into()
            }
            (None, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) if handshake => format!(
                "no answer to the TLS handshake within {:?}; does the server speak TLS?",
                defaults::CONNECT_TIMEOUT
            ),
            _ => return e,
        };
        io::Error::new(e.kind(), text)
    }
}

/// What is wrong with a server's certificate.
fn certificate(problem: &CertificateError, name: &str) -> String {
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of `{name}` has expired: the server needs a new one")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of `{name}` isn't valid yet: are both clocks right?")
        }
        CertificateError::NotValidForName => {
            format!(
                "the server's certificate isn't made out for `{name}`; see `TlsOptions::server_name`"
            )
        }
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "the server's certificate isn't made out for `{name}` but for {}; see \
             `TlsOptions::server_name`",
            if presented.is_empty() { "no name".into() } else { presented.join(", ") }
        ),
        // A bad signature: there is a trusted authority of that name, but with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of `{name}` isn't signed by a trusted authority; give its authority by \
             `TlsOptions::root_certificates`"
        ),
        other => format!("the certificate of `{name}` isn't good: {other:?}"),
    }
}

fn bad(option: &str, problem: String) -> Error {
    Error::Config { key: format!("TlsOptions::{option}"), problem }
}

fn read(pem: &Pem, what: &str) -> Result<Vec<u8>> {
    match pem {
        Pem::Bytes(bytes) => Ok(bytes.clone()),
        Pem::File(path) => std::fs::read(path).map_err(|e| {
            Error::io(format!("reading `{}` for `TlsOptions::{what}`", path.display()), e)
        }),
    }
}

fn certificates(pem: &Pem, option: &str) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(pem, option)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if all.is_empty() => {
            Err(bad(option, format!("{pem:?}: no `-----BEGIN CERTIFICATE-----` in it")))
        }
        Ok(all) => Ok(all),
        Err(e) => Err(bad(option, format!("{pem:?} isn't PEM: {e}"))),
    }
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>> {
    let text = read(pem, "client_certificate")?;
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|e| bad("client_certificate", format!("the key {pem:?}: {e}")))
}

fn roots(given: &[Pem]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if given.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for pem in given {
        for certificate in certificates(pem, "root_certificates")? {
            roots
                .add(certificate)
                .map_err(|e| bad("root_certificates", format!("{pem:?}: {e}")))?;
        }
    }
    Ok(roots)
}

/// A connection whose errors are explained.
struct TlsConnection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    client: Client,
}

impl Read for TlsConnection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).map_err(|e| self.client.explain(e, false))
    }
}
