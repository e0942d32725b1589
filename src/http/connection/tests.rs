//! Exchanges with APIs that answer early, or close, while the request is still being written.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::model::Failure;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
/// More than the buffers of two sockets hold.
const LARGE: usize = 16 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// An API of one connection, in a thread.
fn api(serve: impl FnOnce(std::net::TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    (address, std::thread::spawn(move || serve(listener.accept().expect("a connection").0)))
}

/// A connection to it without TLS.
async fn plain(api: SocketAddr) -> ApiConnection {
    let tcp = TcpStream::connect(api).await.expect("it listens");
    let socket = ApiSocket::new(MaybeHttpsStream::Http(TokioIo::new(tcp)));
    ApiConnection::new(MaybeHttpsStream::Http(socket), TlsKeys::default(), Deadline::after(PATIENCE))
}

async fn ask(connection: &mut ApiConnection, length: usize, within: Duration) -> Result<Answer, Broken> {
    let (head, rest) = (vec![b'x'; length / 2], vec![b'x'; length - length / 2].into());
    connection.exchange((head, rest), true, false, Deadline::after(within)).await
}

/// Reads a little of the request.
fn reads(stream: &mut std::net::TcpStream) {
    let _ = io::Read::read(stream, &mut [0; 1000]).expect("a request");
}

/// The API closes the connection with bytes unread, which resets it: the answer counts in any order of these events.
#[tokio::test]
async fn an_answer_counts_if_the_rest_of_the_request_is_not_read() {
    for round in 0..50 {
        let (api, _) = api(|mut stream| {
            reads(&mut stream);
            io::Write::write_all(&mut stream, ANSWER).expect("it is read");
        });
        let answer = ask(&mut plain(api).await, LARGE, PATIENCE).await;
        let answer = answer.unwrap_or_else(|broken| panic!("round {round}: {broken:?}"));
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"{}".as_slice()), "round {round}");
        assert!(!answer.is_kept, "round {round}");
    }
}

#[tokio::test]
async fn a_connection_with_a_part_of_a_request_is_not_kept() {
    let (end, ended) = mpsc::channel::<()>();
    let (api, _) = api(move |mut stream| {
        reads(&mut stream);
        io::Write::write_all(&mut stream, ANSWER).expect("it is read");
        let _ = ended.recv();
    });
    let answer = ask(&mut plain(api).await, LARGE, PATIENCE).await.expect("an answer");
    assert!(!answer.is_kept);
    drop(end);
}

#[tokio::test]
async fn a_reset_without_an_answer_is_noticed_while_writing() {
    let (api, _) = api(|mut stream| reads(&mut stream));
    let broken = ask(&mut plain(api).await, LARGE, PATIENCE).await.expect_err("no answer");
    assert_eq!((broken.stage, &broken.failure), (Stage::Lost, &Failure::Protocol), "{broken:?}");
}

#[tokio::test]
async fn the_time_ends_while_writing() {
    let (end, ended) = mpsc::channel::<()>();
    let (api, _) = api(move |_stream| {
        let _ = ended.recv();
    });
    let broken = ask(&mut plain(api).await, LARGE, Duration::from_millis(50)).await.expect_err("no answer");
    assert_eq!((broken.stage, &broken.failure), (Stage::Refused, &Failure::Timeout), "{broken:?}");
    drop(end);
}

#[tokio::test]
async fn bytes_before_a_request_and_an_end_are_no_answer() {
    for (bytes, reason) in [(ANSWER, UNASKED), (b"".as_slice(), "the connection ended before the answer did")]
    {
        let (came, is_there) = mpsc::channel();
        let (api, serving) = api(move |mut stream| {
            io::Write::write_all(&mut stream, bytes).expect("it is read");
            stream.shutdown(std::net::Shutdown::Write).expect("it is open");
            came.send(()).expect("it is waited for");
            let mut got = Vec::new();
            let _ = io::Read::read_to_end(&mut stream, &mut got);
            assert!(got.is_empty(), "not a byte is written");
        });
        let mut connection = plain(api).await;
        is_there.recv().expect("it is written");
        let looked = connection
            .exchange((b"secret".to_vec(), Bytes::new()), false, true, Deadline::after(PATIENCE))
            .await;
        let broken = looked.expect_err("no answer");
        assert_eq!((broken.stage, broken.reason.as_ref()), (Stage::Unsent, reason));
        drop(connection);
        serving.join().expect("no byte came");
    }
}

/// A certificate that signs itself, and those who trust it.
fn certified() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["api.test".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("it signs itself").der().clone();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let server = server.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let client = ClientConfig::builder_with_provider(provider);
    let client = client.with_safe_default_protocol_versions().expect("versions");
    (
        Arc::new(server.with_single_cert(vec![certificate], key).expect("a key of the certificate")),
        Arc::new(client.with_root_certificates(roots).with_no_client_auth()),
    )
}

/// rustls takes more than the socket: a request that has left us may not have left TLS.
#[tokio::test]
async fn a_connection_with_a_part_of_a_request_in_tls_is_not_kept() {
    const LENGTH: usize = 60_000;
    let (server, client) = certified();
    let accepting = TlsAcceptor::from(server);
    for reads_all in [true, false] {
        let small = TcpSocket::new_v4().expect("a socket");
        small.set_recv_buffer_size(4096).expect("a size");
        small.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let listener = small.listen(1).expect("it listens");
        let address = listener.local_addr().expect("an address");
        let accepting = accepting.clone();
        let (end, ended) = oneshot::channel::<()>();
        let api = tokio::spawn(async move {
            let tcp = listener.accept().await.expect("a connection").0;
            let mut tls = accepting.accept(tcp).await.expect("a handshake");
            let mut got = vec![0; if reads_all { LENGTH } else { 1 }];
            tls.read_exact(&mut got).await.expect("a request");
            tls.write_all(ANSWER).await.expect("it is read");
            tls.flush().await.expect("it is read");
            let _ = ended.await;
        });
        let small = TcpSocket::new_v4().expect("a socket");
        small.set_send_buffer_size(4096).expect("a size");
        let tcp = small.connect(address).await.expect("it listens");
        let socket = ApiSocket::new(MaybeHttpsStream::Http(TokioIo::new(tcp)));
        let name = ServerName::try_from("api.test").expect("a name");
        let tls = TlsConnector::from(Arc::clone(&client)).connect(name, TokioIo::new(socket)).await;
        let stream = MaybeHttpsStream::Https(TokioIo::new(tls.expect("a handshake")));
        let mut connection = ApiConnection::new(stream, TlsKeys::default(), Deadline::after(PATIENCE));
        let answer = ask(&mut connection, LENGTH, PATIENCE).await.expect("an answer");
        assert_eq!(answer.is_kept, reads_all);
        drop(end);
        api.await.expect("no panic");
    }
}
