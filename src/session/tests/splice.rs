//! Halves that are spliced.

use super::*;

fn spliced() -> Bench {
    let (mut bench, _) = Bench::relaying(RAW, b"");
    assert_eq!(bench.bulk(Server), [Action::Release(BUFFER), AWAIT]);
    bench
}

/// There is something to splice.
fn turn(bench: &mut Bench) {
    assert_eq!(bench.step(Event::Readable(Server)), [Action::TakePipe(Server)]);
    assert_eq!(bench.step(Event::Pipe(Server, Ok(()))), [IN]);
}

const IN: Action = Action::SpliceIn(Server, PIPE_SIZE);
const ASKS: [Action; 2] = [
    Action::ReturnPipe(Server, PipeState::Empty),
    Action::Receive { side: Server, patience: Patience::Try },
];
const AWAIT: Action = Action::Await(Server, Readiness::Readable);

#[test]
fn bulk_is_spliced_and_copied_again_when_quiet() {
    let mut bench = spliced();
    for onward in [AWAIT, receive(Server)] {
        turn(&mut bench);
        assert_eq!(bench.step(Event::SplicedIn(Server, Ok(7))), [Action::SpliceOut(Server, 7)]);
        // So little means that the socket is empty, which need not be asked.
        let actions = bench.step(Event::SplicedOut(Server, Ok(7)));
        // Whoever waits holds no pipe.
        assert_eq!(actions, [Action::ReturnPipe(Server, PipeState::Empty), onward]);
    }
    assert_eq!(bench.from(Server, b"abc"), [send(Client, 3)]);
}

#[test]
fn a_futile_wake_up_falls_back_to_receiving_at_once() {
    let mut bench = spliced();
    turn(&mut bench);
    let back = Action::ReturnPipe(Server, PipeState::Empty);
    let actions = [back, Action::Receive { side: Server, patience: Patience::Try }];
    assert_eq!(bench.step(Event::SplicedIn(Server, Err(Fault::WouldBlock))), actions);
}

#[test]
fn without_a_pipe_bytes_are_copied() {
    let (mut bench, _) = Bench::relaying(RAW, b"");
    bench.bulk(Client);
    bench.step(Event::Readable(Client));
    let actions = bench.step(Event::Pipe(Client, Err(Fault::NoDescriptors)));
    assert_eq!(actions, [Action::Receive { side: Client, patience: Patience::Try }]);
}

#[test]
fn a_full_client_is_waited_for_with_exactly_what_the_pipe_holds() {
    let mut bench = spliced();
    turn(&mut bench);
    bench.step(Event::SplicedIn(Server, Ok(20)));
    assert_eq!(bench.step(Event::SplicedOut(Server, Ok(5))), [Action::SpliceOut(Server, 15)]);
    let waits = [Action::AwaitRoom(Client), Action::Await(Server, Readiness::HangUp)];
    assert_eq!(bench.step(Event::SplicedOut(Server, Err(Fault::WouldBlock))), waits);
    // Its own half will bring the reset, behind what is in the pipe.
    assert_eq!(bench.step(Event::HangUp { side: Server, fault: Some(Fault::Reset) }), []);
    assert_eq!(bench.step(Event::Room(Client)), [Action::SpliceOut(Server, 15)]);
    assert_eq!(bench.step(Event::SplicedOut(Server, Ok(15))), [IN]);
}

#[test]
fn eof_follows_the_last_spliced_byte() {
    let mut bench = spliced();
    turn(&mut bench);
    bench.step(Event::SplicedIn(Server, Ok(20)));
    bench.step(Event::SplicedOut(Server, Err(Fault::WouldBlock)));
    bench.step(Event::Room(Client));
    assert_eq!(bench.step(Event::SplicedOut(Server, Ok(20))), [IN]);
    assert_eq!(bench.step(Event::SplicedIn(Server, Ok(0))), ASKS);
    assert_eq!(bench.eof(Server)[0], Action::Shutdown(Client));
}

#[test]
fn what_splice_calls_an_end_may_be_an_urgent_byte_with_more_behind_it() {
    let mut bench = spliced();
    turn(&mut bench);
    assert_eq!(bench.step(Event::SplicedIn(Server, Ok(0))), ASKS);
    assert_eq!(bench.from(Server, b"more"), [send(Client, 4)]);
}

#[test]
fn what_splice_calls_an_end_may_be_a_reset_that_a_send_has_seen() {
    let mut bench = spliced();
    bench.from(Client, b"abc");
    turn(&mut bench);
    assert_eq!(bench.step(Event::SplicedIn(Server, Ok(0))), ASKS);
    bench.sent(Server, Err(Fault::Reset));
    let actions = bench.eof(Server);
    assert!(actions.contains(&Action::AskUnsent(Client)), "{actions:?}");
}

#[test]
fn a_pipe_that_holds_bytes_is_not_called_empty() {
    let mut bench = spliced();
    turn(&mut bench);
    bench.step(Event::SplicedIn(Server, Ok(20)));
    let actions = bench.step(Event::SplicedOut(Server, Err(Fault::Reset)));
    assert_eq!(actions[0], Action::ReturnPipe(Server, PipeState::Holding));
    assert_eq!(actions[1..], closes(Farewell::Reset, Farewell::Reset));
}

#[test]
fn a_splice_that_was_cut_may_have_lost_the_reset() {
    for (cut, expected) in [(true, Action::AskUnsent(Client)), (false, Action::Shutdown(Client))] {
        let (mut bench, _) = Bench::relaying(RAW, b"");
        bench.bulk(Client);
        bench.step(Event::Readable(Client));
        bench.step(Event::Pipe(Client, Ok(())));
        bench.step(Event::SplicedIn(Client, Ok(20)));
        if cut {
            bench.step(Event::SplicedOut(Client, Ok(5)));
        }
        bench.step(Event::SplicedOut(Client, Err(Fault::Broken)));
        let actions = bench.eof(Server);
        assert!(actions.contains(&expected), "{actions:?}");
    }
}

#[test]
fn a_turn_is_bounded() {
    let mut bench = spliced();
    turn(&mut bench);
    for _ in 1..(1 << 20) / PIPE_SIZE {
        bench.step(Event::SplicedIn(Server, Ok(PIPE_SIZE)));
        assert_eq!(bench.step(Event::SplicedOut(Server, Ok(PIPE_SIZE))), [IN]);
    }
    bench.step(Event::SplicedIn(Server, Ok(PIPE_SIZE)));
    let rests = [Action::ReturnPipe(Server, PipeState::Empty), AWAIT];
    assert_eq!(bench.step(Event::SplicedOut(Server, Ok(PIPE_SIZE))), rests);
}
