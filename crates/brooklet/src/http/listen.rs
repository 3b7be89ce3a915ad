//! Addresses: what they mean, and listening there.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use crate::{Error, Result};

/// What `HOST:PORT` means.
pub(super) fn resolve(address: &str, who: &str) -> Result<SocketAddr> {
    let no_address = |problem: &str| Error::Config {
        key: "http_address".into(),
        problem: format!(
            "`{address}`, for {who}, {problem}: write HOST:PORT, as in 127.0.0.1:8080 or localhost:0 \
             (port 0 takes a free one)"
        ),
    };
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err(no_address("has no port"));
    };
    if host.is_empty() {
        return Err(no_address("has no host"));
    }
    if port.parse::<u16>().is_err() {
        return Err(no_address("has a port that isn't a number from 0 to 65535"));
    }
    let found = address
        .to_socket_addrs()
        .map_err(|e| Error::io(format!("looking up `{address}` for {who}"), e))?
        .next();
    found.ok_or_else(|| no_address("is the name of no machine"))
}

/// Listens at an address.
pub(super) fn listen(address: SocketAddr, who: &str) -> Result<TcpListener> {
    let listening = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listening().map_err(|e| Error::io(format!("listening on {address} for {who}"), advised(e)))
}

fn advised(e: io::Error) -> io::Error {
    let advice = match e.kind() {
        io::ErrorKind::AddrInUse => {
            "another program, or another context, listens there: choose another port, or 0 for a free one"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are for privileged users: choose one from 1024 on"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine doesn't have the address: use 127.0.0.1 (this machine only) or 0.0.0.0 (all of \
             its addresses)"
        }
        _ => return e,
    };
    io::Error::new(e.kind(), format!("{e}; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_address_says_how_a_right_one_looks() {
        for (address, problem) in [
            ("localhost", "has no port"),
            (":80", "has no host"),
            ("localhost:http", "isn't a number from 0 to 65535"),
            ("127.0.0.1:65536", "isn't a number from 0 to 65535"),
        ] {
            let e = resolve(address, "`serve`").unwrap_err().to_string();
            assert!(e.contains(problem) && e.contains("HOST:PORT"), "{e}");
        }
        assert_eq!(resolve("127.0.0.1:80", "x").unwrap(), SocketAddr::from(([127, 0, 0, 1], 80)));
        assert!(resolve("[::1]:0", "x").unwrap().is_ipv6());
    }

    #[test]
    fn a_taken_port_and_a_foreign_address_say_what_to_do() {
        let taken = listen(SocketAddr::from(([127, 0, 0, 1], 0)), "x").unwrap();
        let e = listen(taken.local_addr().unwrap(), "`serve` (a.rs:1:2)").unwrap_err().to_string();
        assert!(e.contains("`serve` (a.rs:1:2)") && e.contains("choose another port"), "{e}");
        let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
        let e = listen(foreign, "x").unwrap_err().to_string();
        assert!(e.contains("192.0.2.1") && e.contains("0.0.0.0"), "{e}");
    }
}
