//! `server.observability`, keys `otel_…`: what a collector gets, and which trace headers an API gets.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use prost::Message;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::blackhole::Blackhole;
use crate::support::config::sasl_oidc;
use crate::support::fake_provider::FakeProvider;
use crate::support::setup::Setup;
use crate::support::site::Way;
use crate::support::{PATIENCE, wait_until};
use crate::targets::targets;

const TRACES: &str = "otel_traces_enabled: true";

/// All spans that the collector got.
fn spans(collector: &Backend) -> Vec<Span> {
    let requests = collector.requests();
    let traces = requests.iter().filter(|request| request.path == "/v1/traces").map(|request| {
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        ExportTraceServiceRequest::decode(request.body.as_slice()).expect("OTLP")
    });
    let scopes = traces.flat_map(|traces| traces.resource_spans).flat_map(|resource| {
        let named = resource.resource.expect("a resource").attributes;
        assert_eq!(text(&named, "service.name").as_deref(), Some("pfxhttp"));
        resource.scope_spans
    });
    scopes.flat_map(|scope| scope.spans).collect()
}

pub(crate) fn wait_for_spans(collector: &Backend, count: usize) -> Vec<Span> {
    assert!(wait_until(PATIENCE, || spans(collector).len() >= count), "{:#?}", spans(collector));
    spans(collector)
}

pub(crate) fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{name} is {other:?}"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The trace id, span id and flags of `traceparent`.
fn traceparent(request: &Request) -> Vec<String> {
    let value = request.header("traceparent").expect("a traceparent");
    let parts: Vec<String> = value.split('-').map(str::to_owned).collect();
    assert!(parts.len() == 4 && parts[0] == "00", "{value}");
    parts[1..].to_vec()
}

#[test]
fn each_request_is_a_trace_with_its_exchanges_as_children() {
    let collector = Backend::constant("");
    let (api, provider) = (
        Backend::start(|request| match request.path.as_str() {
            "/map/k3y" => Reply::json(r#"{"value": "v"}"#),
            "/policy" => Reply::status(503),
            _ => Reply::with_header("Auth-User", "u", ""),
        }),
        FakeProvider::start(),
    );
    let claims = provider.claims("us3r", "us");
    provider.introspect_with(move |_| Reply::json(&claims_active(&claims)));
    let sasl = sasl_oidc(&provider.configuration_uri(), "client_id: us, client_secret: s3cret");
    let target = format!("target: \"{}\"", api.url("/map/{{ .Key | urlencode }}"));
    let setup = Setup::start(|config| {
        config
            .otlp(&collector.url(""), &[TRACES])
            .map_of("users", &["method: GET", &target, "value_field: value"])
            .policy("checks", &api.url("/policy"), &[])
            .login("smtp", &api.url("/login"), &[&sasl])
    });
    setup.map().look_up("users", "k3y");
    let map = traceparent(&api.last());
    setup.policy("checks").ask(&[("request", "smtpd_access_policy"), ("sender", "s3nder@example.com")]);
    let policy = traceparent(&api.last());
    let mut login = setup.login(Way::Unix, "smtp");
    login.plain(1, "us3r", "passw0rd");
    login.line();
    let password = traceparent(&api.last());
    login.xoauth2(2, "us3r", "t0ken");
    login.line();
    setup.map().look_up("inv3nted", "k3y");
    // Two spans for each of four requests, and one for a request without an exchange.
    let spans = wait_for_spans(&collector, 9);
    assert_eq!(spans.len(), 9, "{spans:#?}");
    let root = |name: &str, trace: &str| {
        let is_it = |span: &&Span| span.name == name && (trace.is_empty() || hex(&span.trace_id) == trace);
        let span = spans.iter().find(is_it).unwrap_or_else(|| panic!("no {name} {trace} in {spans:#?}"));
        assert!(span.parent_span_id.is_empty() && span.kind == 2, "{span:?}");
        span
    };
    for (name, exchange, parent, status) in [
        ("socket_map users", "HTTP GET", &map, "200"),
        ("policy_service checks", "HTTP POST", &policy, "503"),
        ("dovecot_sasl smtp", "HTTP POST", &password, "200"),
    ] {
        let server = root(name, &parent[0]);
        let client = spans.iter().find(|span| hex(&span.span_id) == parent[1]).expect("the API's parent");
        assert_eq!(
            (client.trace_id.as_slice(), client.parent_span_id.as_slice()),
            (&*server.trace_id, &*server.span_id),
            "{name}"
        );
        assert_eq!((client.name.as_str(), client.kind, parent[2].as_str()), (exchange, 3, "01"), "{name}");
        assert_eq!(text(&client.attributes, "http.response.status_code").as_deref(), Some(status), "{name}");
        assert_eq!(text(&client.attributes, "server.address").as_deref(), Some("127.0.0.1"), "{name}");
        assert!(client.start_time_unix_nano >= server.start_time_unix_nano, "{name}");
        assert!(client.end_time_unix_nano <= server.end_time_unix_nano, "{name}");
    }
    let failed = root("policy_service checks", "");
    assert_eq!(failed.status.as_ref().map(|status| status.code), Some(StatusCode::Error as i32));
    assert_eq!(text(&failed.attributes, "outcome").as_deref(), Some("tempfail"));
    assert_eq!(text(&failed.attributes, "pfxhttp.listener").as_deref(), Some("checks"));
    root("socket_map unknown", "");
    for asked in collector.requests() {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        for hidden in ["k3y", "s3nder", "us3r", "passw0rd", "t0ken", "s3cret", "inv3nted"] {
            assert!(!body.contains(hidden), "{hidden} in {body:?}");
        }
    }
}

fn claims_active(claims: &serde_json::Value) -> String {
    let mut claims = claims.clone();
    claims["active"] = true.into();
    claims.to_string()
}

#[test]
fn traceparent_is_sent_for_unsampled_traces_and_not_sent_if_disabled() {
    let (collector, api) = (Backend::constant(""), Backend::constant(r#"{"value": "v"}"#));
    let mut setup = Setup::start(|config| {
        config.otlp(&collector.url(""), &[TRACES, "otel_sample_ratio: 0"]).map("m", &api.url("/"), &[])
    });
    setup.map().look_up("m", "k");
    assert_eq!(traceparent(&api.last())[2], "00");
    setup.broker.terminate();
    assert!(setup.broker.wait(PATIENCE).is_some_and(|status| status.success()));
    assert_eq!(collector.count(), 0);
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    setup.map().look_up("m", "k");
    assert_eq!(api.last().header("traceparent"), None);
}

#[test]
fn a_collector_that_hangs_or_is_away_delays_no_request() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let (deaf, hanging) = (Blackhole::open(), Backend::start(|_| Reply::stall()));
    for endpoint in [deaf.url(""), hanging.url(""), "http://127.0.0.1:1".to_owned()] {
        let mut setup = Setup::start(|config| {
            config.otlp(&endpoint, &[TRACES, "otel_metrics_enabled: true"]).map("m", &api.url("/"), &[])
        });
        let mut map = setup.map();
        let began = Instant::now();
        for number in 0..3000 {
            assert_eq!(map.look_up("m", &number.to_string()), "OK v", "{endpoint}");
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{endpoint}: {:?}", began.elapsed());
        drop(map);
        let stopped = Instant::now();
        setup.broker.terminate();
        assert!(setup.broker.wait(PATIENCE).is_some_and(|status| status.success()), "{endpoint}");
        assert!(stopped.elapsed() < Duration::from_secs(4), "{endpoint}: {:?}", stopped.elapsed());
    }
}

#[test]
fn metrics_are_exported_and_a_last_time_at_the_end() {
    let (collector, api) = (Backend::constant(""), Backend::constant(r#"{"value": "v"}"#));
    let several = targets(&[api.url("/"), api.url("/").replace("127.0.0.1", "localhost")]);
    let mut setup = Setup::start(|config| {
        let more = ["otel_metrics_enabled: true", "otel_exporter_otlp_headers: {X-Key: s3cret}"];
        let config = config.otlp(&collector.url("/base"), &more).map("m", &api.url("/"), &[]);
        config.map_of("several", &[&several, "method: GET", "value_field: value"])
    });
    for key in ["a", "b"] {
        setup.map().look_up("m", key);
    }
    setup.map().look_up("several", "a");
    setup.broker.terminate();
    assert!(setup.broker.wait(PATIENCE).is_some_and(|status| status.success()));
    let request = collector.last();
    assert_eq!((request.path.as_str(), request.header("x-key")), ("/base/v1/metrics", Some("s3cret")));
    let metrics = ExportMetricsServiceRequest::decode(request.body.as_slice()).expect("OTLP");
    let scopes = metrics.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    let metrics: Vec<_> = scopes.flat_map(|scope| scope.metrics).collect();
    let of =
        |name: &str| metrics.iter().find(|metric| metric.name == name).and_then(|metric| metric.data.clone());
    let Some(Data::Sum(requests)) = of("pfxhttp_application_requests") else { panic!("{metrics:#?}") };
    assert!(requests.is_monotonic && requests.aggregation_temporality == 2);
    let point = &requests.data_points[0];
    assert_eq!(text(&point.attributes, "outcome").as_deref(), Some("ok"));
    assert!(point.start_time_unix_nano < point.time_unix_nano);
    let Some(Data::Histogram(took)) = of("pfxhttp_application_request_duration") else {
        panic!("{metrics:#?}")
    };
    assert_eq!((took.data_points[0].count, took.data_points[0].bucket_counts.len()), (2, 15));
    assert_eq!(took.data_points[0].explicit_bounds[..4], [0.0005, 0.001, 0.0025, 0.005]);
    let Some(Data::Sum(active)) = of("pfxhttp_listener_active_connections") else { panic!("{metrics:#?}") };
    assert!(!active.is_monotonic);
    let Some(Data::Gauge(up)) = of("pfxhttp_target_up") else { panic!("{metrics:#?}") };
    assert_eq!(up.data_points.len(), 2);
    let Some(Data::Sum(requests)) = of("pfxhttp_target_requests") else { panic!("{metrics:#?}") };
    let point = &requests.data_points[0];
    assert_eq!(text(&point.attributes, "target"), Some(api.url("")));
    assert_eq!(text(&point.attributes, "code").as_deref(), Some("2xx"));
    let Some(Data::Sum(stops)) = of("pfxhttp_observability_shutdowns") else { panic!("{metrics:#?}") };
    assert_eq!(stops.data_points.len(), 1);
    assert!(!setup.broker.log().contains("s3cret"));
}
