//! The fuzz targets over their corpora: every input that is committed, and changes of it from a
//! seed. `make fuzz` looks for new ones; what it finds is committed beside the others.

use std::fs;
use std::path::Path;

use ringway::random::Random;

#[path = "../fuzz/targets/client_hello.rs"]
mod client_hello;
#[path = "../fuzz/targets/config_text.rs"]
mod config_text;
#[path = "../fuzz/targets/proxy_header.rs"]
mod proxy_header;
#[path = "../fuzz/targets/request_head.rs"]
mod request_head;
#[path = "../fuzz/targets/response_head.rs"]
mod response_head;
#[path = "../fuzz/targets/session.rs"]
mod session;

/// Changes of each input that are tried; `FUZZ_CHANGES` tries another number.
const CHANGES: usize = 200;

fn changes() -> usize {
    std::env::var("FUZZ_CHANGES").map_or(CHANGES, |count| count.parse().expect("a number"))
}

fn over_the_corpus(name: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).expect("every target has a corpus") {
        let input = fs::read(entry.expect("an entry").path()).expect("an input");
        run(&input);
        let mut random = Random::new(1);
        for _ in 0..changes() {
            run(&changed(&input, &mut random));
        }
        inputs += 1;
    }
    assert!(inputs >= 3, "{name} has {inputs} inputs");
}

/// A byte or two are others, left out, or there twice.
fn changed(input: &[u8], random: &mut Random) -> Vec<u8> {
    let mut input = input.to_vec();
    for _ in 0..=random.next() >> 62 {
        if input.is_empty() {
            break;
        }
        let at = (random.next() >> 33) as usize % input.len();
        match random.next() >> 62 {
            0 => drop(input.remove(at)),
            1 => input.insert(at, input[at]),
            2 => input.truncate(at),
            _ => input[at] = (random.next() >> 56) as u8,
        }
    }
    input
}

#[test]
fn request_heads() {
    over_the_corpus("request_head", request_head::run);
}

#[test]
fn response_heads() {
    over_the_corpus("response_head", response_head::run);
}

#[test]
fn client_hellos() {
    over_the_corpus("client_hello", client_hello::run);
}

#[test]
fn proxy_headers() {
    over_the_corpus("proxy_header", proxy_header::run);
}

#[test]
fn texts_of_configurations() {
    over_the_corpus("config_text", config_text::run);
}

#[test]
fn sessions() {
    over_the_corpus("session", session::run);
}
