//! Where the origin is, and how a connection to it is made: addresses, TLS, and every timeout Pingora leaves open.

use crate::origin::patient::Patient;
use crate::origin::{OriginError, OriginErrorKind};
use crate::policy;
use pingora::tls::load_native_certs;
use pingora::upstreams::peer::{HttpPeer, PeerOptions};
use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

/// The origin's addresses, and the roots its certificate is checked against.
pub struct Peers {
    origin: policy::Origin,
    /// Empty: the system's roots, which Pingora has loaded itself.
    roots: Option<Arc<[WrappedX509]>>,
    /// The address that was last connected to.
    known: Mutex<Option<SocketAddr>>,
}

impl Peers {
    /// Reads the extra roots, if there are any.
    ///
    /// # Errors
    /// `origin.ca` cannot be read or holds no certificate; the text names the file.
    pub fn new(origin: &policy::Origin) -> Result<Self, String> {
        let extra = origin.tls && !origin.ca.as_os_str().is_empty();
        let roots = if extra { Some(roots_with(origin)?) } else { None };
        Ok(Peers { origin: origin.clone(), roots, known: Mutex::new(None) })
    }

    /// The address that worked last, for which pooled connections may exist.
    pub fn known(&self) -> Option<HttpPeer> {
        self.known.lock().expect("no holder of this lock panics").map(|address| self.at(address))
    }

    /// Remembers that `address` can be connected to, or with `None` that it no longer can.
    pub fn set_known(&self, address: Option<SocketAddr>) {
        *self.known.lock().expect("no holder of this lock panics") = address;
    }

    /// Every address the origin's name has now, at least one.
    ///
    /// # Errors
    /// The name has none, or was not resolved within `connect_timeout`.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, OriginError> {
        let failed = |cause: String| OriginError { kind: OriginErrorKind::Connect, cause };
        let name = &self.origin.name;
        let lookup = tokio::net::lookup_host((name.as_str(), self.origin.port));
        match timeout(self.origin.connect_timeout, lookup).await {
            Ok(Ok(found)) => {
                let found: Vec<SocketAddr> = found.collect();
                if found.is_empty() { Err(failed(format!("{name} has no address"))) } else { Ok(found) }
            }
            Ok(Err(error)) => Err(failed(format!("{name} cannot be resolved: {error}"))),
            Err(_) => Err(failed(format!("{name} was not resolved in time"))),
        }
    }

    /// The peer at `address`: HTTP/1.1 alone, no timeout left out.
    pub fn at(&self, address: SocketAddr) -> HttpPeer {
        let mut peer = HttpPeer::new(address, self.origin.tls, self.origin.name.clone());
        let options: &mut PeerOptions = &mut peer.options;
        options.connection_timeout = Some(self.origin.connect_timeout);
        options.total_connection_timeout = Some(self.origin.connect_timeout);
        options.read_timeout = Some(self.origin.response_timeout.max(self.origin.body_timeout));
        options.write_timeout = Some(self.origin.body_timeout);
        options.idle_timeout = Some(self.origin.idle_timeout);
        options.ca.clone_from(&self.roots);
        peer
    }

    /// The peer at `address` for a connection on which another protocol may follow and be silent for so long. It is no
    /// other request's, before or after.
    pub fn upgradable(&self, address: SocketAddr, silence: Duration) -> HttpPeer {
        let mut peer = self.at(address);
        peer.group_key = 1;
        peer.options.custom_l4 = Some(Arc::new(Patient));
        peer.options.read_timeout = Some(silence);
        peer.options.idle_timeout = Some(Duration::ZERO);
        peer
    }
}

/// The system's roots and those of `origin.ca`: Pingora takes a peer's roots in place of the system's.
fn roots_with(origin: &policy::Origin) -> Result<Arc<[WrappedX509]>, String> {
    let file = origin.ca.display();
    let extra: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&origin.ca)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{file} is not a readable PEM file of certificates: {error}"))?;
    if extra.is_empty() {
        return Err(format!("{file} holds no certificate"));
    }
    let system = load_native_certs().unwrap_or_default();
    Ok(system.into_iter().chain(extra).map(|root| WrappedX509::new(root.to_vec(), parse_x509)).collect())
}
