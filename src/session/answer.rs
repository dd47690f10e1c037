//! The short HTTP answers ringway gives itself. Every one closes the connection.

fn answer(status: &str, more: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\n{more}Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// 400: the head breaks RFC 9112; `why` says how.
pub(super) fn bad_request(why: &str) -> Vec<u8> {
    answer("400 Bad Request", "", &format!("bad request: {why}\n"))
}

/// 408: the head was not whole in time.
pub(super) fn request_timeout() -> Vec<u8> {
    answer("408 Request Timeout", "", "the request head did not arrive in time\n")
}

/// 431: the head is larger than `head_max_bytes`.
pub(super) fn head_too_large() -> Vec<u8> {
    answer("431 Request Header Fields Too Large", "", "the request head is too large\n")
}

/// 503: no server. A page of another origin may read it only if CORS says so, and a browser hides
/// the reason from the application otherwise.
pub(super) fn unavailable(origin: Option<&[u8]>) -> Vec<u8> {
    let origin = origin
        .and_then(|origin| std::str::from_utf8(origin).ok())
        .filter(|origin| origin.bytes().all(|byte| byte.is_ascii_graphic()));
    let cors = match origin {
        Some(origin) => format!(
            "Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Allow-Credentials: true\r\n\
             Vary: Origin\r\n"
        ),
        None => "Access-Control-Allow-Origin: *\r\n".to_owned(),
    };
    answer("503 Service Unavailable", &format!("Retry-After: 1\r\n{cors}"), "no server available\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_echoed_only_if_it_cannot_start_a_field() {
        let text = |origin: Option<&[u8]>| String::from_utf8(unavailable(origin)).unwrap();
        assert!(text(Some(b"https://a.example")).contains("Allow-Origin: https://a.example\r\n"));
        assert!(text(Some(b"x\r\nSet-Cookie: y")).contains("Allow-Origin: *\r\n"));
        assert!(text(None).contains("Retry-After: 1\r\n"));
    }
}
