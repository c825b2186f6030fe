//! How an authority is asked: one request a connection, over HTTPS, of which so much is read and no more.

use std::error::Error as StdError;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, header};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::limits;
use crate::policy::tls;
use crate::runtime::{authorities, files};

type Wrong = Box<dyn StdError + Send + Sync + 'static>;

/// TLS to a host that has proven who it is.
pub(super) struct Https(Arc<ClientConfig>);

impl Https {
    /// To those that have a certificate of these authorities; None: of those that this machine trusts.
    pub(super) fn new(own: Option<&Path>) -> Result<Https, String> {
        let trusted = match own {
            Some(path) => {
                let text = files::read_whole(path, limits::PEM_FILE_MAX);
                tls::chain(&text.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            None => authorities::trusted().map_err(|error| error.to_string())?,
        };
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(trusted);
        if usable == 0 {
            return Err("there is no certificate of an authority to verify its web server by".to_owned());
        }
        let builder = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(Https(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asked = ask(self.0.clone(), request);
        Box::pin(async move {
            match tokio::time::timeout(limits::ACME_REQUEST, asked).await {
                Ok(Ok(response)) => Ok(BytesResponse::from(response)),
                Ok(Err(wrong)) => Err(Error::Other(wrong)),
                Err(_) => Err(Error::Other("the authority does not answer".into())),
            }
        })
    }
}

async fn ask(
    tls: Arc<ClientConfig>,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Body>, Wrong> {
    let uri = request.uri().clone();
    let authority =
        uri.authority().filter(|_| uri.scheme_str() == Some("https")).ok_or("this is no https:// URL")?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let stream = TcpStream::connect((&*host, authority.port_u16().unwrap_or(443))).await?;
    let stream = TlsConnector::from(tls).connect(ServerName::try_from(host)?, stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driven = tokio::spawn(connection);
    request.headers_mut().insert(header::HOST, authority.as_str().parse()?);
    *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = to_bytes(Body::new(body), limits::ACME_ANSWER_MAX).await?;
    driven.abort();
    Ok(Response::from_parts(parts, Body::from(body)))
}
