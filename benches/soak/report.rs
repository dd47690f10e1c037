//! The balance sheet: what ringway says became of its sessions beside what the load saw.

use crate::balancer::Ledger;
use crate::faults::Faults;
use crate::load::{Count, Tally};
use crate::plan::Kind;
use crate::run::Outcome;

/// Adds to the faults whatever does not add up.
pub(crate) fn check(run: &Outcome, ledger: &Ledger, growth_kib: u64, faults: &Faults) {
    let Outcome { totals, tally, last_tally, .. } = run;
    let logged: u64 = ledger.reasons.values().sum();
    if totals.accepted != totals.closed {
        faults.add(format_args!("{} accepted, {} closed", totals.accepted, totals.closed));
    }
    if logged + totals.unlogged != totals.closed {
        let unlogged = totals.unlogged;
        faults.add(format_args!("{} closed, {logged} lines, {unlogged} lost", totals.closed));
    }
    if !run.peace.is_back_at(&run.start) {
        faults.add(format_args!("not back: {}, at the start {}", run.peace, run.start));
    }
    for (when, held) in [("under load", &run.end), ("in peace", &run.peace)] {
        if held.resident_kib > run.warm.resident_kib + growth_kib {
            faults.add(format_args!("memory has grown {when}: {held}, when warm {}", run.warm));
        }
    }
    let plain: u64 = ledger.listeners.iter().filter(|(name, _)| *name != "http").map(|l| l.1).sum();
    let connected = tally.connected + last_tally.connected;
    let unseen = tally.unseen + last_tally.unseen;
    if plain > connected || plain + unseen + totals.unlogged < connected {
        faults.add(format_args!(
            "{connected} connections stood, {unseen} of them for no time, but ringway had {plain}"
        ));
    }
    let stopped: u64 = last_tally.kinds.iter().map(|count| count.stopped).sum();
    let counted = [
        ("head_incomplete", right(tally, Kind::Incomplete)),
        ("head_malformed", right(tally, Kind::Malformed)),
        ("stopped", stopped),
    ];
    for (reason, count) in counted {
        let said = ledger.reasons.get(reason).copied().unwrap_or(0);
        if said != count && totals.unlogged == 0 {
            faults.add(format_args!("{count} ends should be {reason}, {said} are"));
        }
    }
}

fn right(tally: &Tally, kind: Kind) -> u64 {
    tally.kinds[kind as usize].right
}

pub(crate) fn print(run: &Outcome, ledger: &Ledger, faults: &Faults) {
    let Outcome { totals, tally, last_tally, rounds, .. } = run;
    println!("\nsoak: {:.0} s of load, seed {}", run.lasted.as_secs_f64(), run.seed);
    println!(
        "\n{:<26}{:>10}{:>10}{:>10}{:>10}",
        "the load's account", "right", "killed", "ended", "wrong"
    );
    for (kind, name) in Kind::ALL {
        let (count, last) = (&tally.kinds[kind as usize], &last_tally.kinds[kind as usize]);
        let Count { right, killed, stopped, wrong } = add(*count, *last);
        println!("{name:<26}{right:>10}{killed:>10}{stopped:>10}{wrong:>10}");
    }
    println!(
        "{:<26}{:>10}{:>10}{:>10}{:>10}",
        "Socket.IO rounds", rounds.flawless, rounds.disturbed, "", rounds.wrong
    );
    println!("killed: with their server; ended: by ringway, at the end of its drain");
    let mib = tally.bytes.map(|bytes| bytes >> 20);
    println!("\nbytes compared      {} MiB sent, {} MiB received", mib[0], mib[1]);
    println!("sessions at once    {}", tally.most_at_once);
    println!("Socket.IO           {} clients, {} echoes", rounds.clients, rounds.echoes);
    let [good, wrong] = run.reloads;
    println!("reloads             {good}, and {wrong} wrong files");
    let [kills, stops, chat_kills, chat_stops] = run.troubles;
    println!(
        "servers             {kills} killed, {stops} stopped for a while; Socket.IO: {chat_kills} \
         and {chat_stops}"
    );
    println!("retried connects    {}", ledger.retries);
    println!("when warm           {}", run.warm);
    println!("at the end          {}", run.end);
    println!("at the start        {}", run.start);
    println!("after it            {}", run.peace);
    println!("\nringway's account");
    for (reason, count) in &ledger.reasons {
        println!("  {reason:<18}{count:>10}");
    }
    println!("  {:<18}{:>10}", "lines lost", totals.unlogged);
    println!("  {:<18}{:>10}", "closed", totals.closed);
    println!("  {:<18}{:>10}", "accepted", totals.accepted);
    match faults.count() {
        0 => println!("\nnothing is wrong"),
        count => println!("\n{count} wrong, see above"),
    }
}

fn add(one: Count, other: Count) -> Count {
    Count {
        right: one.right + other.right,
        killed: one.killed + other.killed,
        stopped: one.stopped + other.stopped,
        wrong: one.wrong + other.wrong,
    }
}
