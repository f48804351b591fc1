//! A request and its answer: the handler is asked, and what it says becomes a connection or plain HTTP.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use core::task::{Poll, Waker};
use std::io;

use super::{Answer, Driver, Phase, Question};
use crate::api::{AnyListener, AsyncResponse};
use crate::drive::callbacks::Dispatcher;
use crate::handshake::server::{Accept, Refused};
use crate::handshake::{PlainResponse, Request};
use crate::protocol::{BoxError, Connection, Output};
use crate::serve::{Asked, ProxyProtocolError, ServerError, Service};
use crate::time::Time;
use crate::tls::TlsError;

impl Driver {
    /// Asks the handler, unless what has come is refused.
    pub(super) fn ask(&mut self, request: Result<Request, Refused>, now: Time) {
        let Phase::Handshake(opening) = &mut self.phase else { return };
        let (peer, is_unannounced) = (opening.peer(), opening.is_unannounced());
        let Some(service) = self.service.clone() else { return };
        if is_unannounced {
            // There are no requests before that: the time is up.
            service.report(&ServerError::ProxyProtocol { peer, error: ProxyProtocolError::TimedOut });
            return self.transport_gone();
        }
        if let Err(error) = service.config().check() {
            service.report(&ServerError::Config(error));
            let answer = service.encode(request.as_ref().ok(), &PlainResponse::internal_error());
            return self.reply(answer);
        }
        let mut request = match request {
            Ok(request) => request,
            Err(refused) => {
                let answer = service.refuse(peer, refused);
                return self.reply(service.encode(None, &answer));
            }
        };
        request.set_peer_addr(peer);
        match service.ask(&request) {
            Asked::Answered(answer) => self.answer(&service, &request, answer, now),
            Asked::Pending(answer) => {
                let deadline = service.config().handler_timeout.map(|timeout| now + timeout);
                let Phase::Handshake(opening) = &mut self.phase else { return };
                let answered = opening.answered.take();
                let question = Question { request, answer, answered, input: Vec::new(), sought: false, deadline };
                self.phase = Phase::Asked(Box::new(question));
            }
        }
    }

    /// The handler has answered: what came after the request goes on from here, as if it came now.
    pub(super) fn answered(&mut self, answer: Result<AsyncResponse, ServerError>, now: Time) {
        let Some(service) = self.service.clone() else { return };
        self.say_answered();
        let Phase::Asked(question) = mem::replace(&mut self.phase, Phase::Answer(Box::default())) else { return };
        let Question { request, answer: waiting, mut input, .. } = *question;
        drop(waiting);
        self.answer(&service, &request, answer, now);
        self.dispatch(now, &mut input);
        if self.eof {
            self.receive_eof(now);
        }
    }

    /// The handler's time is up: an answer that is there by now is as good as one in time.
    pub(super) fn answer_late(&mut self, now: Time) {
        let Phase::Asked(question) = &mut self.phase else { return };
        let answer = match question.answer.poll(Waker::noop()) {
            Poll::Ready(answer) => answer,
            Poll::Pending => question.answer.give_up(),
        };
        self.answered(answer, now);
    }

    /// Answers a request, with an open connection or with plain HTTP.
    pub(super) fn answer(
        &mut self,
        service: &Arc<Service>,
        request: &Request,
        answer: Result<AsyncResponse, ServerError>,
        now: Time,
    ) {
        let accept = |accept: &Accept, date: Option<&str>, config| request.accept_dated(accept, date, config, now);
        match service.accept(request, answer, accept) {
            Ok((connection, listener)) => self.upgrade(service, connection, listener),
            Err(plain) => self.reply(service.encode(Some(request), &plain)),
        }
    }

    /// Answers with plain HTTP.
    pub(super) fn reply(&mut self, bytes: Vec<u8>) {
        let mut output = Output::new();
        output.push_large(bytes.into());
        let left = output.len();
        self.say_answered();
        self.phase = Phase::Answer(Box::new(Answer { output, left }));
        self.end();
    }

    pub(super) fn upgrade(&mut self, service: &Service, mut connection: Connection, listener: AnyListener) {
        if let Some(unix_time) = service.unix_time() {
            connection.set_opened(unix_time);
        }
        let mut dispatcher = Box::new(Dispatcher::new(connection, listener));
        dispatcher.grant(self.granted);
        dispatcher.enter(service.registry(), || self.say_answered());
        self.phase = Phase::Open(dispatcher);
    }

    fn say_answered(&self) {
        let answered = match &self.phase {
            Phase::Handshake(opening) => &opening.answered,
            Phase::Asked(question) => &question.answered,
            Phase::Answer(_) | Phase::Open(_) => return,
        };
        if let Some(answered) = answered {
            answered.store(true, Ordering::Release);
        }
    }
}

/// Tells the owner if there is no request because a proxy has not announced it, or because there is no TLS.
pub(super) fn report_failure(service: &Service, peer: Option<SocketAddr>, error: BoxError) {
    let Ok(error) = error.downcast::<io::Error>() else { return };
    if let Some(&error) = error.get_ref().and_then(|error| error.downcast_ref()) {
        service.report(&ServerError::ProxyProtocol { peer, error });
    } else if let Ok(error) = TlsError::from_io(*error) {
        service.report(&ServerError::Tls { peer, error });
    }
}
