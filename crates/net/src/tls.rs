//! Why TLS failed, told so that an administrator can mend it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use leadlex_domain::provider::{Fault, FaultKind};

/// What the TLS library says comes wrapped; it speaks of certificates and protocol, not of content.
pub fn fault_of_io(error: &io::Error) -> Fault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(inner) => fault_of(inner),
        None => Fault::new(FaultKind::Tls, format!("TLS failed: {error}")),
    }
}

/// The fault `tls`, with what a person can do about it where that is known.
pub fn fault_of(error: &Error) -> Fault {
    let why = match error {
        Error::InvalidCertificate(certificate) => certificate_words(certificate),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a certificate of the client, which cannot be given".into()
        }
        Error::AlertReceived(alert) => format!("the other side refused the connection ({alert:?})"),
        Error::InvalidMessage(_) => "what answers there does not speak TLS".into(),
        Error::PeerIncompatible(_) => {
            "the other side speaks neither TLS 1.2 nor 1.3 as it is spoken here".into()
        }
        other => other.to_string(),
    };
    Fault::new(FaultKind::Tls, format!("TLS failed: {why}"))
}

fn certificate_words(error: &CertificateError) -> String {
    let words = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired (or this server's clock is wrong)"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet (or this server's clock is wrong)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            return format!("the certificate is for another host name: {error}");
        }
        CertificateError::UnknownIssuer => {
            "the certificate is not signed by an authority that this server's system trusts: it is self-signed, of an authority of your own, or of a proxy on the way (UnknownIssuer)"
        }
        CertificateError::Revoked => "the certificate has been revoked",
        // The library's name for it: the authority that has signed it is the certificate itself.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the certificate is self-signed, which this server's system does not trust"
        }
        other => return format!("the certificate was not accepted ({other})"),
    };
    words.to_owned()
}
