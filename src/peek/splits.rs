//! Feeding a parser the same bytes in every way they can be split.

use std::fmt::Debug;

/// Runs `feed` on `bytes` in one piece, with every one and two cuts, and one byte at a time, and
/// proves that the answer is always the same. `feed` gets the lengths received so far, rising to
/// all, and answers with the first verdict that is not "more bytes, please", or that one.
pub(super) fn every_split<T: PartialEq + Debug>(bytes: &[u8], feed: impl Fn(&[usize]) -> T) -> T {
    let all = bytes.len();
    let whole = feed(&[all]);
    for first in 0..=all {
        for second in first..=all {
            let answer = feed(&[first, second, all]);
            assert_eq!(answer, whole, "cut at {first} and {second} of {all}");
        }
    }
    one_at_a_time(bytes, feed, &whole);
    whole
}

/// As `every_split`, one byte at a time only.
pub(super) fn one_at_a_time<T: PartialEq + Debug>(
    bytes: &[u8],
    feed: impl Fn(&[usize]) -> T,
    whole: &T,
) {
    let lengths: Vec<usize> = (0..=bytes.len()).collect();
    assert_eq!(&feed(&lengths), whole, "one byte at a time");
}
