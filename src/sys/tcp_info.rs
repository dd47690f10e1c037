//! What the kernel knows of a TCP connection (tcp(7), TCP_INFO).

use std::mem::{MaybeUninit, offset_of};

use serde::Serialize;

use super::Fd;

/// See the head of the file. Segments are of `mss_bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TcpInfo {
    /// Smoothed round trip time.
    pub rtt_us: u32,
    /// How far round trips are from that.
    pub rtt_deviation_us: u32,
    /// Segments that may be under way.
    pub cwnd_segments: u32,
    /// Segments under way.
    pub unacked_segments: u32,
    /// Those of them that are taken for lost.
    pub lost_segments: u32,
    /// Segments sent again so far.
    pub retransmits_total: u32,
    /// Bytes in a segment at most.
    pub mss_bytes: u32,
    /// Milliseconds since the last byte was sent.
    pub last_sent_ms: u32,
    /// Milliseconds since the last byte was received.
    pub last_received_ms: u32,
}

impl TcpInfo {
    /// How long nothing has moved in either direction.
    pub fn idle_ms(&self) -> u32 {
        self.last_sent_ms.min(self.last_received_ms)
    }
}

/// Bytes the kernel must have told for all of the above to mean something: Linux 2.6 does.
const NEEDED_BYTES: usize = offset_of!(libc::tcp_info, tcpi_total_retrans) + 4;

/// Of a socket of this thread; `None` if it is none of TCP.
#[expect(unsafe_code, reason = "getsockopt(2)")]
pub fn of(socket: Fd) -> Option<TcpInfo> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`, which lives through the call.
    let result = unsafe {
        libc::getsockopt(
            socket.number(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 || (len as usize) < NEEDED_BYTES {
        return None;
    }
    // SAFETY: it was zeroed, and is made of numbers only, of which any bits are one.
    let info = unsafe { info.assume_init() };
    Some(TcpInfo {
        rtt_us: info.tcpi_rtt,
        rtt_deviation_us: info.tcpi_rttvar,
        cwnd_segments: info.tcpi_snd_cwnd,
        unacked_segments: info.tcpi_unacked,
        lost_segments: info.tcpi_lost,
        retransmits_total: info.tcpi_total_retrans,
        mss_bytes: info.tcpi_snd_mss,
        last_sent_ms: info.tcpi_last_data_sent,
        last_received_ms: info.tcpi_last_data_recv,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::thread::sleep;
    use std::time::Duration;

    #[test]
    fn the_kernel_knows_how_long_nothing_has_moved() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut near, _) = listener.accept().unwrap();
        let info = |near: &TcpStream| of(Fd::new(near.as_raw_fd())).unwrap();
        sleep(Duration::from_millis(60));
        let quiet = info(&near);
        // In ticks of the kernel's, of up to 10 ms.
        assert!(quiet.idle_ms() >= 50, "{quiet:?}");
        assert!(quiet.cwnd_segments > 0 && quiet.mss_bytes > 0, "{quiet:?}");
        far.write_all(b"x").unwrap();
        near.read_exact(&mut [0]).unwrap();
        let stirred = info(&near);
        assert!(stirred.last_received_ms <= stirred.last_sent_ms, "{stirred:?}");
    }

    #[test]
    fn nothing_is_known_of_a_unix_socket() {
        let (near, _far) = UnixStream::pair().unwrap();
        assert_eq!(of(Fd::new(near.as_raw_fd())), None);
    }
}
