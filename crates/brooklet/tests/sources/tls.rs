//! TLS for socket streams, against a server with certificates made here.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use brooklet::prelude::*;
use brooklet::source::{Lines, RawSender, SocketOptions, TlsOptions};
use brooklet::{ReceiverInfo, Wire};
use brooklet_testkit::{Collector, TestEngine, TestTcpServer};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::support::{Notes, both_engines, collect, counter, multiset};

/// An authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, PEM.
struct Identity {
    chain: String,
    key: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for this name, which `change` may spoil.
    fn identity(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.extended_key_usages = both.to_vec();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { chain, key: key.serialize_pem() }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }

    /// Options that trust it.
    fn trusted(&self) -> TlsOptions {
        TlsOptions::new().root_certificates(self.pem.as_str())
    }
}

/// What the server does after the bytes of a connection.
#[derive(Clone, Copy, Default)]
enum Then {
    /// Says that this is the end.
    Close,
    /// Ends the connection without a word.
    Break,
    /// Keeps it open until the client leaves.
    #[default]
    Hold,
}

/// Sends one text on each connection; keeps the last one open.
struct TlsServer {
    port: u16,
    stop: Arc<Mutex<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl TlsServer {
    fn start(
        identity: &Identity,
        clients: Option<&Authority>,
        texts: &[(&[u8], Then)],
    ) -> TlsServer {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = CertificateDer::from_pem_slice(identity.chain.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let config = Arc::new(config.with_single_cert(vec![chain], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::<Mutex<bool>>::default();
        let (told, texts) = (stop.clone(), texts.iter().map(|(b, t)| (b.to_vec(), *t)));
        let mut texts = texts.collect::<Vec<_>>().into_iter();
        let thread = std::thread::spawn(move || {
            let mut next = texts.next();
            while let Ok((socket, _)) = listener.accept() {
                if *told.lock().unwrap() {
                    return;
                }
                let (text, then) = next.clone().unwrap_or_default();
                if serve(socket, config.clone(), &text, then).is_ok() {
                    next = texts.next(); // a client that refused gets the same again
                }
            }
        });
        TlsServer { port, stop, thread: Some(thread) }
    }

    fn options(&self, tls: TlsOptions) -> SocketOptions {
        SocketOptions::new("localhost", self.port).tls(tls)
    }
}

fn serve(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    text: &[u8],
    then: Then,
) -> std::io::Result<()> {
    let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    tls.write_all(text)?;
    tls.flush()?;
    match then {
        Then::Close => {
            tls.conn.send_close_notify();
            tls.flush()?;
        }
        Then::Break => {}
        Then::Hold => drop(tls.read(&mut [0])),
    }
    tls.sock.shutdown(Shutdown::Write)?;
    let _ = tls.sock.read(&mut [0; 1024]); // until the client has read all
    Ok(())
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        *self.stop.lock().unwrap() = true;
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().unwrap().join();
    }
}

/// A stream of lines with batches of 20 ms, not started.
fn lines_of(options: SocketOptions) -> (StreamingContext, Collector<String>) {
    let ssc = StreamingContext::new(Conf::new("tls").master("local[2]"), millis(20)).unwrap();
    let seen = Collector::new();
    collect(&ssc.socket_text_stream_with(options).map(|l| l.to_string()).boxed(), &seen);
    (ssc, seen)
}

fn count(ssc: &StreamingContext, name: &str) -> u64 {
    counter(ssc, &format!("socket_text_stream-0.{name}"))
}

/// The first error of a stream with these options.
fn error_of(options: SocketOptions) -> ReceiverInfo {
    let (ssc, seen) = lines_of(options);
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    let e = notes.receiver_error();
    ssc.stop(true).unwrap();
    assert!(seen.is_empty(), "nothing may come: {:?}", seen.items());
    e
}

#[test]
fn lines_come_by_tls_on_both_engines() {
    let ours = Authority::new();
    let text: String = (0..2_000).map(|i| format!("line {i}\n")).collect();
    let want = text.lines().map(str::to_string);
    for engine in [TestEngine::Local, TestEngine::Loopback] {
        let identity = ours.identity("localhost", |_| {});
        let server = TlsServer::start(&identity, None, &[(text.as_bytes(), Then::Hold)]);
        let options = server.options(ours.trusted());
        let seen = both_engines(engine, 2_000, move |ssc| {
            ssc.socket_text_stream_with(options.clone()).map(|l| l.to_string()).boxed()
        });
        assert_eq!(multiset(seen), multiset(want.clone()), "{engine:?}");
    }
}

#[test]
fn a_lost_connection_is_made_again_and_nothing_doubles() {
    let ours = Authority::new();
    let identity = ours.identity("localhost", |_| {});
    let texts: [(&[u8], Then); 3] =
        [(b"one\ntwo\nth", Then::Close), (b"ree\n", Then::Close), (b"four\n", Then::Hold)];
    let server = TlsServer::start(&identity, None, &texts);
    let (ssc, seen) = lines_of(server.options(ours.trusted()));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 5);
    ssc.stop(true).unwrap();
    assert_eq!(seen.multiset(), multiset(["one", "two", "th", "ree", "four"].map(String::from)));
    assert_eq!((count(&ssc, "half_lines"), count(&ssc, "reconnects")), (1, 2));
    assert_eq!(count(&ssc, "errors"), 0);
}

#[test]
fn an_end_without_the_end_of_tls_is_reported() {
    let ours = Authority::new();
    let identity = ours.identity("localhost", |_| {});
    let texts: [(&[u8], Then); 2] = [(b"one\n", Then::Break), (b"two\n", Then::Hold)];
    let server = TlsServer::start(&identity, None, &texts);
    let (ssc, seen) = lines_of(server.options(ours.trusted()));
    let notes = Notes::of(&ssc);
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 2);
    let e = notes.receiver_error();
    ssc.stop(true).unwrap();
    assert!(e.last_error.contains("part of the data may be missing"), "{e:?}");
    assert_eq!(seen.items(), ["one", "two"]);
}

#[test]
fn an_expired_certificate_is_refused() {
    let ours = Authority::new();
    let identity = ours.identity("localhost", |p| {
        p.not_before = rcgen::date_time_ymd(2019, 1, 1);
        p.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let server = TlsServer::start(&identity, None, &[(b"never\n", Then::Hold)]);
    let e = error_of(server.options(ours.trusted()));
    assert!(e.last_error.contains("certificate of `localhost` has expired"), "{e:?}");
    assert!(e.last_error.contains(&format!("localhost:{}", server.port)), "{e:?}");
}

#[test]
fn a_certificate_for_another_name_is_refused_unless_that_name_is_given() {
    let ours = Authority::new();
    let identity = ours.identity("logs.example", |_| {});
    let server = TlsServer::start(&identity, None, &[(b"line\n", Then::Hold)]);
    let e = error_of(server.options(ours.trusted()));
    assert!(e.last_error.contains("isn't made out for `localhost`"), "{e:?}");
    assert!(e.last_error.contains("logs.example"), "{e:?}");
    assert!(e.last_error.contains("`TlsOptions::server_name`"), "{e:?}");

    let (ssc, seen) = lines_of(server.options(ours.trusted().server_name("logs.example")));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 1);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["line"]);
}

#[test]
fn a_certificate_of_a_stranger_is_refused() {
    let (ours, other) = (Authority::new(), Authority::new());
    let identity = other.identity("localhost", |_| {});
    let server = TlsServer::start(&identity, None, &[(b"never\n", Then::Hold)]);
    // Neither the given authority nor those of browsers have signed it.
    for tls in [ours.trusted(), TlsOptions::new()] {
        let e = error_of(server.options(tls));
        assert!(e.last_error.contains("isn't signed by a trusted authority"), "{e:?}");
        assert!(e.last_error.contains("`TlsOptions::root_certificates`"), "{e:?}");
    }
}

#[test]
fn a_plain_server_is_told_from_what_it_sends() {
    let ours = Authority::new();
    let server = TestTcpServer::serving("plain text, no TLS\n").unwrap();
    let e = error_of(SocketOptions::new("localhost", server.port()).tls(ours.trusted()));
    assert!(e.last_error.contains("the server doesn't speak TLS"), "{e:?}");
    assert!(e.last_error.contains("is it a plain one?"), "{e:?}");
}

#[test]
fn a_client_certificate_is_shown_to_a_server_that_asks() {
    let ours = Authority::new();
    let identity = ours.identity("localhost", |_| {});
    let server = TlsServer::start(&identity, Some(&ours), &[(b"for members\n", Then::Hold)]);
    let e = error_of(server.options(ours.trusted()));
    assert!(e.last_error.contains("`TlsOptions::client_certificate`"), "{e:?}");

    let member = ours.identity("member", |_| {});
    let tls = ours.trusted().client_certificate(member.chain, member.key);
    let (ssc, seen) = lines_of(server.options(tls));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 1);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["for members"]);
}

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(case: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("brooklet-tls-{case}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn certificates_may_be_files() {
    let (ours, folder) = (Authority::new(), Folder::new("files"));
    let identity = ours.identity("localhost", |_| {});
    let server = TlsServer::start(&identity, Some(&ours), &[(b"line\n", Then::Hold)]);
    let member = ours.identity("member", |_| {});
    let (chain, key) = (folder.file("chain", &member.chain), folder.file("key", &member.key));
    let tls = TlsOptions::new()
        .root_certificates_file(folder.file("roots", &ours.pem))
        .client_certificate_files(chain, key);
    let (ssc, seen) = lines_of(server.options(tls));
    ssc.start().unwrap();
    seen.wait_until(|_, n| n >= 1);
    ssc.stop(true).unwrap();
    assert_eq!(seen.items(), ["line"]);
}

#[test]
fn bad_certificates_and_names_end_the_start() {
    let (ours, folder) = (Authority::new(), Folder::new("bad"));
    let start = |host: &str, tls| {
        let (ssc, _) = lines_of(SocketOptions::new(host, 1).tls(tls));
        ssc.start().unwrap_err().to_string()
    };
    let missing = folder.0.join("none.pem");
    let e = start("localhost", TlsOptions::new().root_certificates_file(&missing));
    assert!(e.contains("none.pem") && e.contains("`TlsOptions::root_certificates`"), "{e}");
    let empty = folder.file("empty.pem", "no certificate here\n");
    let e = start("localhost", TlsOptions::new().root_certificates_file(empty));
    assert!(e.contains("empty.pem") && e.contains("BEGIN CERTIFICATE"), "{e}");
    let (one, two) = (ours.identity("a", |_| {}), ours.identity("b", |_| {}));
    let e = start("localhost", ours.trusted().client_certificate(one.chain.clone(), two.key));
    assert!(e.contains("TlsOptions::client_certificate"), "{e}");
    let e = start("localhost", ours.trusted().client_certificate(one.chain, "no key"));
    assert!(e.contains("TlsOptions::client_certificate") && e.contains("key"), "{e}");
    let e = start("not a host", ours.trusted());
    assert!(e.contains("`not a host`") && e.contains("TlsOptions::server_name"), "{e}");
}

#[test]
fn stop_ends_a_handshake_that_waits() {
    let ours = Authority::new();
    let silent = TestTcpServer::script().stall().start().unwrap();
    let options = SocketOptions::new("localhost", silent.port()).tls(ours.trusted());
    let (ssc, _) = lines_of(options);
    ssc.start().unwrap();
    silent.wait_stalled();
    ssc.stop(true).unwrap(); // without its end this would wait for the handshake's time-out
    assert_eq!(count(&ssc, "errors"), 0);
}

#[test]
fn records_and_blocks_come_by_tls_too() {
    let ours = Authority::new();
    let identity = ours.identity("localhost", |_| {});
    let server = TlsServer::start(&identity, None, &[(b"a\nb\n", Then::Hold)]);
    assert_eq!(
        multiset(received(2, |ssc| {
            ssc.socket_stream_with(server.options(ours.trusted()), Lines::new())
        })),
        multiset([b"a".to_vec(), b"b".to_vec()])
    );

    let mut sender = RawSender::<u64>::bind("127.0.0.1", 0).unwrap();
    let mut plain = TcpStream::connect(sender.local_addr()).unwrap();
    sender.send(0..100).unwrap();
    drop(sender);
    let mut bytes = Vec::new();
    plain.read_to_end(&mut bytes).unwrap();
    let server = TlsServer::start(&identity, None, &[(&bytes, Then::Hold)]);
    assert_eq!(
        multiset(received(100, |ssc| {
            ssc.raw_socket_stream_with::<u64>(server.options(ours.trusted()))
        })),
        multiset(0..100)
    );
}

fn received<T: Wire>(
    n: usize,
    make: impl FnOnce(&StreamingContext) -> brooklet::DStream<T>,
) -> Vec<T> {
    let ssc = StreamingContext::new(Conf::new("tls").master("local[2]"), millis(20)).unwrap();
    let seen = Collector::new();
    collect(&make(&ssc), &seen);
    ssc.start().unwrap();
    seen.wait_until(|_, got| got >= n);
    ssc.stop(true).unwrap();
    seen.items()
}
