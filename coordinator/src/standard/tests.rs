use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use thalweg_proto::{
    network::{ConnectionLimits, MemoryNetwork, Network, admit, channel, server},
    testing::seeded_seams,
};
use thalweg_types::MemberId;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{health_check_response::ServingStatus as Told, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::*;

/// The services at an address, as a coordinator serves them.
async fn served() -> (Channel, Reporter) {
    let seams = seeded_seams(1);
    let network: Arc<dyn Network> = Arc::new(MemoryNetwork::default());
    let (routes, reporter) = services().await;
    let listener = network.listen("a:1").await.unwrap();
    let incoming = admit(listener, ConnectionLimits::default());
    let serving = server(&seams.io).add_routes(routes).serve_with_incoming(incoming);
    seams.io.spawn("server", Box::pin(async { serving.await.unwrap() }));
    (channel(&network, "a:1").unwrap(), reporter)
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn health(channel: &Channel, service: &str) -> Told {
    HealthClient::new(channel.clone()).check(of(service)).await.unwrap().into_inner().status()
}

#[tokio::test(start_paused = true)]
async fn the_health_is_whether_a_leader_is_known() {
    let (channel, reporter) = served().await;
    let mut watched = HealthClient::new(channel.clone()).watch(of("")).await.unwrap().into_inner();
    let mut next = async || watched.message().await.unwrap().unwrap().status();
    for service in ["", "thalweg.v1.Cluster"] {
        assert_eq!(health(&channel, service).await, Told::NotServing, "it does not take part yet");
    }
    assert_eq!(next().await, Told::NotServing);
    let (lead, leadership) = watch::channel(Leadership::default());
    seeded_seams(1).io.spawn("health", Box::pin(reporter.follow(leadership)));
    lead.send_replace(Leadership { leader: Some(MemberId(2)), ..Leadership::default() });
    assert_eq!(next().await, Told::Serving);
    assert_eq!(health(&channel, "thalweg.v1.Cluster").await, Told::Serving);
    lead.send_replace(Leadership::default());
    assert_eq!(next().await, Told::NotServing);
    lead.send_replace(Leadership { leader: Some(MemberId(1)), ..Leadership::default() });
    assert_eq!(next().await, Told::Serving);
    drop(lead);
    assert_eq!(next().await, Told::NotServing, "it has stopped");
    let other = HealthClient::new(channel).check(of("thalweg.v1.Raft")).await.unwrap_err();
    assert_eq!(other.code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn those_who_watch_the_health_keep_nobody_from_asking() {
    let (channel, _reporter) = served().await;
    let mut watches = Vec::new();
    for _ in 0..WATCHES_MAX {
        watches.push(HealthClient::new(channel.clone()).watch(of("")).await.unwrap());
    }
    let full = HealthClient::new(channel.clone()).watch(of("")).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted);
    assert_eq!(health(&channel, "").await, Told::NotServing);
    watches.clear();
    tokio::time::sleep(Duration::from_millis(10)).await;
    HealthClient::new(channel).watch(of("")).await.expect("there is room again");
}

#[tokio::test(start_paused = true)]
async fn reflection_shows_what_clients_call_and_waits_for_nobody() {
    let (channel, _reporter) = served().await;
    let ask = |question: MessageRequest| ServerReflectionRequest {
        message_request: Some(question),
        ..ServerReflectionRequest::default()
    };
    let list = ask(MessageRequest::ListServices(String::new()));
    let hidden = ask(MessageRequest::FileContainingSymbol("thalweg.v1.Raft".to_owned()));
    // Further questions never come.
    let questions = stream::iter([list]).chain(stream::pending());
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(questions).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("it lists the services")
    };
    let mut names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "thalweg.v1.Cluster"]);
    let ended = tokio::time::timeout(Duration::from_secs(30), answers.message()).await.expect("it is not held open");
    assert!(matches!(ended, Ok(None) | Err(_)), "{ended:?}");
    let mut answers = client.server_reflection_info(stream::iter([hidden])).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::NotFound);
}
