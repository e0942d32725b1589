//! Logins over gRPC: which field of the call each parameter of Dovecot's protocol fills.

use serde_json::{Value, json};

use crate::login_grpc::{metadata, setup};
use crate::support::grpc_service::GrpcService;
use crate::support::sasl::Sasl;
use crate::support::setup::Setup;
use crate::support::site::Way;

/// Logs in as `u` with these parameters; what the call had besides that name, the password and the mechanism.
fn fields(sasl: &mut Sasl, id: u32, service: &GrpcService, parameters: &str) -> Value {
    let tab = if parameters.is_empty() { "" } else { "\t" };
    // "\0u\0secret"
    sasl.say(format!("AUTH\t{id}\tPLAIN\tservice=smtp{tab}{parameters}\tresp=AHUAc2VjcmV0"));
    assert_eq!(sasl.line(), format!("OK\t{id}\tuser=u"), "{parameters}");
    let mut request = service.calls().pop().expect("a call")["request"].take();
    let fields = request.as_object_mut().expect("an object");
    for (name, due) in [("username", "u"), ("password", "secret"), ("protocol", "smtp"), ("method", "PLAIN")]
    {
        assert_eq!(fields.remove(name), Some(due.into()), "{parameters}");
    }
    request
}

/// A login without further parameters, and the session that it has.
fn session(setup: &Setup, way: Way, service: &GrpcService) -> (Sasl, String) {
    let mut sasl = setup.login(way, "users");
    let mut least = fields(&mut sasl, 1, service, "");
    let session = least["external_session_id"].take();
    assert_eq!(least, json!({"external_session_id": null, "local_port": "587"}));
    let session = session.as_str().expect("the session of the broker").to_owned();
    assert!(session.len() == 16 && session.bytes().all(|byte| byte.is_ascii_hexdigit()), "{session}");
    (sasl, session)
}

#[test]
fn each_parameter_fills_its_field() {
    let service = GrpcService::start();
    let setup = setup(&service, "", &["default_local_port: '587'"]);
    let (mut sasl, session) = session(&setup, Way::Unix, &service);
    let mut id = 1;
    let mut check = |parameters: &str, due: Value| {
        id += 1;
        let mut all = json!({"external_session_id": session, "local_port": "587"});
        for (name, value) in due.as_object().expect("an object") {
            all[name] = value.clone();
        }
        assert_eq!(fields(&mut sasl, id, &service, parameters), all, "{parameters}");
    };
    check("lport=465", json!({"local_port": "465"}));
    check("local_name=mx", json!({"client_hostname": "mx"}));
    check("local_name=mx\tclient_hostname=mua", json!({"client_hostname": "mua"}));
    check("client_hostname=mua\tlocal_name=mx", json!({"client_hostname": "mua"}));
    check("session=abc", json!({"external_session_id": "abc"}));
    check("session=", json!({}));
    for secured in ["secured", "secured=tls"] {
        check(secured, json!({"ssl": "on"}));
        check(&format!("{secured}\tssl=yes"), json!({"ssl": "yes"}));
        check(&format!("ssl=TLSv1.3\t{secured}"), json!({"ssl": "on", "ssl_protocol": "TLSv1.3"}));
    }
    check("ssl=tlsv1.2", json!({"ssl_protocol": "tlsv1.2"}));
    let known = "ssl_cipher=X\tssl_cipher_bits=256\tssl_pfs=Y\tssl_protocol=TLSv1.3\tclient_id=mua";
    check(known, json!({"ssl_cipher": "X", "ssl_protocol": "TLSv1.3", "client_id": "mua"}));
    let addresses =
        json!({"client_ip": "192.0.2.7", "client_port": "4", "local_ip": "::1", "local_port": "25"});
    check("rip=192.0.2.7\trport=4\tlip=::1\tlport=25", addresses.clone());
    check("client_ip=192.0.2.7\tclient_port=4\tlocal_ip=::1\tlocal_port=25", addresses);
    for name in [
        "client_hostname",
        "external_session_id",
        "user_agent",
        "ssl",
        "ssl_session_id",
        "ssl_client_verify",
        "ssl_client_dn",
        "ssl_client_cn",
        "ssl_issuer",
        "ssl_client_notbefore",
        "ssl_client_notafter",
        "ssl_subject_dn",
        "ssl_issuer_dn",
        "ssl_client_subject_dn",
        "ssl_client_issuer_dn",
        "ssl_protocol",
        "ssl_cipher",
        "ssl_serial",
        "ssl_fingerprint",
        "oidc_cid",
    ] {
        // The value has an escaped TAB; of two values the last one counts.
        check(&format!("{name}=other\t{name}=of {name}\u{1}t=."), json!({name: format!("of {name}\t=.")}));
    }
    check("auth_login_attempt=4294967295", json!({"auth_login_attempt": u32::MAX}));
    check("auth_login_attempt=4294967296", json!({}));
    check("auth_login_attempt=x", json!({}));
    let other = "nologin\tno-penalty\tfinal-resp-ok\tvalid-client-cert\tcert_username=x\tforward_fields=x\treal_rip=x";
    check(other, json!({}));
    check("username=x\tpassword=x\tmethod=x", json!({}));
}

/// The client that forwards requests passes on what Postfix sends.
#[test]
fn the_way_of_a_login_makes_no_difference_for_postfix() {
    let service = GrpcService::start();
    let setup = setup(&service, "", &["default_local_port: '587'"]);
    for way in Way::ALL {
        let (mut sasl, session) = session(&setup, way, &service);
        let request = fields(&mut sasl, 2, &service, "nologin\tlip=::1\trip=192.0.2.7\tsecured");
        let due = json!({"client_ip": "192.0.2.7", "local_ip": "::1", "local_port": "587", "ssl": "on",
                         "external_session_id": session});
        assert_eq!(request, due, "{way:?}");
        let details = "session=abc\tlocal_name=mx\tclient_hostname=mua\tssl_client_cn=joe";
        let request = fields(&mut sasl, 3, &service, details);
        let due = match way {
            Way::Forwarding => {
                json!({"client_hostname": "mx", "external_session_id": session, "local_port": "587"})
            }
            _ => json!({"client_hostname": "mua", "external_session_id": "abc", "local_port": "587",
                        "ssl_client_cn": "joe"}),
        };
        assert_eq!(request, due, "{way:?}");
    }
}

#[test]
fn metadata_may_name_the_user_agent() {
    let service = GrpcService::start();
    let setup = setup(&service, "metadata: {User-Agent: [mail/1]}", &[]);
    fields(&mut setup.login(Way::Unix, "users"), 1, &service, "");
    let call = service.calls().pop().expect("a call");
    assert_eq!(metadata(&call, "user-agent"), ["mail/1"]);
}
