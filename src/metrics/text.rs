//! What is counted, as Prometheus reads it (OpenMetrics 1.0 text). Reads counts and the edition in
//! force, and changes nothing.
//!
//! docs/metrics.md lists every metric; a test compares it with what is written here. A series of
//! a listener, a pool or a server ends with it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{Counters, Distribution, Lack, PoolTotals};
use crate::edition::Edition;
use crate::pool::{Failure, How, Pool, STATES, ServerIndex};
use crate::session::CloseReason;
use crate::worker::Shared;

/// What HTTP calls it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is known beside what is counted.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// When ringway started, in milliseconds since 1970.
    pub started_ms: u64,
    /// It was told to end.
    pub draining: bool,
    /// Ports of one source address towards one server.
    pub ports_max: u32,
}

/// Everything there is to tell now.
pub fn text(shared: &Arc<Shared>, moment: Moment) -> String {
    let mut registry = Registry::with_prefix("ringway");
    registry.register_collector(Box::new(Now { shared: Arc::clone(shared), moment }));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a String takes everything");
    text
}

/// What is asked for once.
struct Now {
    shared: Arc<Shared>,
    moment: Moment,
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.moment.fmt(f)
    }
}

impl Collector for Now {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let edition = self.shared.edition();
        let now_ms = self.shared.clock.now_ms();
        let mut page = Page(encoder);
        process(&mut page, &self.shared, &edition, self.moment)?;
        workers(&mut page, &self.shared.counters)?;
        listeners(&mut page, &edition)?;
        let totals: Vec<_> = edition.pools.iter().map(|pool| (pool, pool.totals())).collect();
        pools(&mut page, &totals, now_ms)?;
        pool_times(&mut page, &totals)?;
        servers(&mut page, &edition, now_ms)?;
        ports(&mut page, &self.shared, &edition, self.moment.ports_max)
    }
}

type Label<'l> = (&'static str, &'l str);

/// What is written, a metric after another.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    /// Numbers that only grow.
    fn counter<'l, const LABELS: usize>(
        &mut self,
        (name, unit): (&str, Option<Unit>),
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; LABELS], u64)>,
    ) -> fmt::Result {
        let mut metric =
            self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in samples {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    /// Numbers that come and go.
    fn gauge<'l, const LABELS: usize, N: EncodeGaugeValue>(
        &mut self,
        (name, unit): (&str, Option<Unit>),
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; LABELS], N)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in samples {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Times, in the classes they were counted in.
    fn times<'l, const LABELS: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; LABELS], Distribution)>,
    ) -> fmt::Result {
        let unit = Unit::Seconds;
        let mut metric =
            self.0.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        for (labels, times) in samples {
            let bounds = times.bounds_us.iter().map(|&bound_us| seconds(bound_us));
            let bounds = bounds.chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(times.counts.iter().copied()).collect();
            let mut metric = metric.encode_family(&labels)?;
            let (sum, count) = (seconds(times.sum_us), times.count());
            metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

fn seconds(time_us: u64) -> f64 {
    time_us as f64 / 1e6
}

fn process(page: &mut Page<'_>, shared: &Shared, edition: &Edition, now: Moment) -> fmt::Result {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    let help = "What this is";
    page.0.encode_descriptor("build", help, None, MetricType::Info)?.encode_info(&version)?;
    let started_s = now.started_ms as f64 / 1e3;
    let name = ("start_time", Some(Unit::Seconds));
    page.gauge(name, "When ringway started, since 1970", [([], started_s)])?;
    let help = "Number of the configuration in force, counted from the start";
    page.gauge(("config_edition", None), help, [([], edition.number)])?;
    let help = "1 once ringway was told to end and hears no new clients, else 0";
    page.gauge(("draining", None), help, [([], u64::from(now.draining))])?;
    let help = "Workers that have not ended";
    let running = shared.running.load(Ordering::Relaxed);
    page.gauge(("workers", None), help, [([], running)])?;
    let help = "Log lines that were lost on their way out: unread, the disk full, the daemon gone";
    let unwritten = shared.unwritten.load(Ordering::Relaxed);
    page.counter(("lines_lost", None), help, [([], unwritten)])?;
    let help = "Sessions that all listeners together may have, if that is limited";
    let max = edition.config.max_connections;
    page.gauge(("sessions_max", None), help, max.map(|max| ([], max)))
}

fn workers(page: &mut Page<'_>, counters: &[Counters]) -> fmt::Result {
    let numbers: Vec<String> = (0..counters.len()).map(|number| number.to_string()).collect();
    let each = || numbers.iter().map(|number| ("worker", &**number)).zip(counters);
    let one = |number: fn(&Counters) -> u64| each().map(move |(w, c)| ([w], number(c)));
    page.counter(("worker_accepted", None), "Clients accepted", one(Counters::accepted))?;
    let closed = each().flat_map(|(worker, counters)| {
        CloseReason::ALL
            .map(|reason| ([worker, ("reason", reason.as_str())], counters.closed(reason)))
    });
    page.counter(("worker_closed", None), "Sessions that are over, by reason", closed)?;
    let lacked = each().flat_map(|(worker, counters)| {
        Lack::ALL.map(|lack| ([worker, ("what", lack.as_str())], counters.lacked(lack)))
    });
    let help = "Times that somebody had to wait, or to do without, for want of something";
    page.counter(("worker_lacks", None), help, lacked)?;
    let help = "Lines of the access log that were lost because the log could not keep up";
    page.counter(("worker_lines_lost", None), help, one(Counters::unlogged))?;
    page.gauge(("worker_sessions", None), "Sessions now", one(Counters::live))?;
    let help = "Sessions it can have with the descriptors it may have";
    page.gauge(("worker_sessions_max", None), help, one(Counters::sessions_max))?;
    let help = "Sockets to clients and servers, a descriptor each";
    page.gauge(("worker_sockets", None), help, one(Counters::sockets))?;
    let help = "Descriptors it may have, those for listeners, pipes and the like among them";
    page.gauge(("worker_descriptors_max", None), help, one(Counters::descriptors_max))
}

fn listeners(page: &mut Page<'_>, edition: &Edition) -> fmt::Result {
    let all: Vec<_> = (0..edition.config.listeners.len())
        .map(|at| (&edition.config.listeners[at], edition.listener_totals(at)))
        .collect();
    let each = || all.iter().map(|(listener, totals)| (("listener", &*listener.name), totals));
    let accepted = each().map(|(listener, totals)| ([listener], totals.accepted));
    page.counter(("listener_accepted", None), "Clients accepted", accepted)?;
    let closed = each().flat_map(|(listener, totals)| {
        CloseReason::ALL
            .map(|reason| ([listener, ("reason", reason.as_str())], totals.closed[reason as usize]))
    });
    page.counter(("listener_closed", None), "Sessions that are over, by reason", closed)?;
    let bytes = each().flat_map(|(listener, totals)| {
        [("client", totals.bytes_up), ("server", totals.bytes_down)]
            .map(|(from, bytes)| ([listener, ("from", from)], bytes))
    });
    let name = ("listener_received", Some(Unit::Bytes));
    page.counter(name, "Bytes received, of sessions that are live too", bytes)?;
    let live = each().map(|(listener, totals)| ([listener], totals.live()));
    page.gauge(("listener_sessions", None), "Sessions now", live)?;
    let max = all.iter().filter_map(|(listener, _)| {
        Some(([("listener", &*listener.name)], listener.max_connections?))
    });
    page.gauge(("listener_sessions_max", None), "Sessions it may have, if that is limited", max)
}

fn pools(page: &mut Page<'_>, all: &[(&Pool, PoolTotals)], now_ms: u64) -> fmt::Result {
    let each = || all.iter().map(|(pool, totals)| (("pool", pool.name()), totals));
    let picks = each().flat_map(|(pool, totals)| {
        How::ALL.map(|how| ([pool, ("how", how.as_str())], totals.picks[how as usize]))
    });
    page.counter(("pool_picks", None), "Choices of a server, by how it was chosen", picks)?;
    let retries = each().map(|(pool, totals)| ([pool], totals.retries));
    page.counter(("pool_retries", None), "Servers tried in vain", retries)?;
    let hits = each().map(|(pool, totals)| ([pool], totals.key_hits));
    let help = "Sessions with a key that led to the server they got";
    page.counter(("pool_key_hits", None), help, hits)?;
    let misses = each().map(|(pool, totals)| ([pool], totals.key_misses));
    page.counter(("pool_key_misses", None), "Sessions with a key that did not", misses)?;
    let learned = each().map(|(pool, totals)| ([pool], totals.learned));
    page.counter(("pool_keys_learned", None), "Keys learned from responses", learned)?;
    let queued = each().map(|(pool, totals)| ([pool], totals.queued));
    page.counter(("pool_queued", None), "Sessions that had to wait for a place", queued)?;
    let surplus = each().map(|(pool, totals)| ([pool], totals.surplus));
    let help = "Sessions whose client sent more than its one request";
    page.counter(("pool_surplus", None), help, surplus)?;
    let closed = each().flat_map(|(pool, totals)| {
        CloseReason::ALL
            .map(|reason| ([pool, ("reason", reason.as_str())], totals.closed[reason as usize]))
    });
    page.counter(("pool_closed", None), "Sessions that are over, by reason", closed)?;
    let one = |number: fn(&Pool) -> u64| {
        all.iter().map(move |(pool, _)| ([("pool", pool.name())], number(pool)))
    };
    let help = "Learned keys kept now";
    page.gauge(("pool_learned_keys", None), help, one(|pool| pool.learned() as u64))?;
    let help = "Sessions that wait for a place now";
    page.gauge(("pool_waiting", None), help, one(|pool| pool.waiting().into()))?;
    let help = "Connects in flight now, where they are limited";
    page.gauge(("pool_connecting", None), help, one(|pool| pool.connecting().into()))?;
    let condition = |of: fn(&Pool, u64) -> bool| {
        all.iter().map(move |(p, _)| ([("pool", p.name())], u64::from(of(p, now_ms))))
    };
    let help = "1 while servers count that are not up, for want of others, else 0";
    let panics = condition(|pool, now_ms| pool.condition(now_ms).panic.is_some());
    page.gauge(("pool_panic", None), help, panics)?;
    let help = "1 while no server can be chosen that is not a backup, else 0";
    page.gauge(
        ("pool_on_backups", None),
        help,
        condition(|p, now_ms| p.condition(now_ms).on_backups),
    )
}

fn pool_times(page: &mut Page<'_>, all: &[(&Pool, PoolTotals)]) -> fmt::Result {
    let each = || all.iter().map(|(pool, totals)| ([("pool", pool.name())], totals));
    let peeks = each().map(|(pool, totals)| (pool, totals.peeks.clone()));
    page.times("pool_peek", "From accept to the choice of this pool", peeks)?;
    let connects = each().map(|(pool, totals)| (pool, totals.connects.clone()));
    page.times("pool_connect", "Time of connects that succeeded", connects)?;
    let lives = each().map(|(pool, totals)| (pool, totals.lives.clone()));
    page.times("pool_session", "From accept to end, of sessions that are over", lives)
}

fn servers(page: &mut Page<'_>, edition: &Edition, now_ms: u64) -> fmt::Result {
    let all: Vec<_> = edition
        .pools
        .iter()
        .flat_map(|pool| (0..).map(ServerIndex).zip(pool.servers()).map(move |at| (pool, at)))
        .map(|(pool, (at, server))| {
            let state = pool.state(at, now_ms);
            (pool.name(), server.address.to_string(), server, (server.totals(), state))
        })
        .collect();
    let each = || {
        all.iter().map(|(pool, address, server, (totals, _))| {
            ([("pool", *pool), ("server", &**address)], *server, totals)
        })
    };
    let bytes = each().flat_map(|([pool, server], _, totals)| {
        [("client", totals.bytes_up), ("server", totals.bytes_down)]
            .map(|(from, bytes)| ([pool, server, ("from", from)], bytes))
    });
    let name = ("server_received", Some(Unit::Bytes));
    page.counter(name, "Bytes received, of sessions that are live too", bytes)?;
    let connects = each().map(|(labels, server, _)| (labels, server.total()));
    page.counter(("server_connects", None), "Connects that succeeded", connects)?;
    let failures = each().flat_map(|([pool, server], _, totals)| {
        Failure::ALL.map(|failure| {
            let labels = [pool, server, ("what", failure.word())];
            (labels, totals.failures[failure as usize])
        })
    });
    let help = "What sessions had against it: connects that failed, and early resets";
    page.counter(("server_failures", None), help, failures)?;
    let times = each().map(|(labels, _, totals)| (labels, totals.connects.clone()));
    page.times("server_connect", "Time of connects that succeeded", times)?;
    let live = each().map(|(labels, server, _)| (labels, server.live()));
    page.gauge(("server_sessions", None), "Sessions now, connecting ones among them", live)?;
    let max = each().filter_map(|(labels, server, _)| Some((labels, server.max_connections()?)));
    page.gauge(("server_sessions_max", None), "Sessions it may have, if that is limited", max)?;
    let weights = each().map(|(labels, server, _)| (labels, u64::from(server.weight)));
    page.gauge(("server_weight", None), "Its share relative to the others", weights)?;
    let states = each().zip(&all).flat_map(|(([pool, server], ..), (.., (_, is)))| {
        STATES.map(|state| ([pool, server, ("state", state)], u64::from(state == *is)))
    });
    page.gauge(("server_state", None), "1 for the state it is in, 0 for the others", states)
}

fn ports(page: &mut Page<'_>, shared: &Shared, edition: &Edition, max: u32) -> fmt::Result {
    let servers = || edition.pools.iter().flat_map(Pool::servers);
    let uses: Vec<_> = (shared.uses.all().into_iter())
        .filter_map(|(peer, source, count)| {
            let server = servers().find(|server| server.peer == peer)?;
            Some((source.to_string(), server.address.to_string(), count))
        })
        .collect();
    let used = uses
        .iter()
        .map(|(source, server, count)| ([("source", &**source), ("server", &**server)], *count));
    let help = "Ports in use from a source address that sockets were bound to";
    page.gauge(("ports", None), help, used)?;
    let help = "Ports that one source address has towards one server";
    page.gauge(("ports_max", None), help, [([], max)])
}
