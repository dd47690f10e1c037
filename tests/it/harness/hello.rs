//! A TLS ClientHello (RFC 8446 section 4.1.2), as small as it may be.

/// One record with a ClientHello that has these extensions: server name, ALPN.
pub(crate) fn client_hello(sni: Option<&str>, protocols: &[&str]) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = sni {
        let entry = [&[0][..], &sized16(name.as_bytes())].concat();
        extensions.extend(extension(0, &sized16(&entry)));
    }
    if !protocols.is_empty() {
        let names: Vec<u8> = protocols.iter().flat_map(|name| sized8(name.as_bytes())).collect();
        extensions.extend(extension(16, &sized16(&names)));
    }
    // supported_versions: TLS 1.3.
    extensions.extend(extension(43, &[2, 3, 4]));

    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(sized8(&[9; 32]));
    body.extend(sized16(&[0x13, 0x01]));
    body.extend(sized8(&[0]));
    body.extend(sized16(&extensions));
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    let handshake = [&[1][..], &length[1..], &body].concat();
    [&[0x16, 3, 1][..], &sized16(&handshake)].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized16(data)].concat()
}

fn sized8(data: &[u8]) -> Vec<u8> {
    [&[u8::try_from(data.len()).expect("short")][..], data].concat()
}

fn sized16(data: &[u8]) -> Vec<u8> {
    [&u16::try_from(data.len()).expect("short").to_be_bytes()[..], data].concat()
}
