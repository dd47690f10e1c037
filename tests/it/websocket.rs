//! WebSocket libraries talk through ringway as if it were not there.

use crate::harness::{Ringway, both_cores, json_line, node_script, port_of, python_script};

#[test]
fn messages_of_1_b_to_16_mib_come_back_as_they_were_with_python_websockets() {
    let _turn = both_cores();
    let mut server = python_script("websocket_echo.py", &["server"]);
    let address = format!("127.0.0.1:{}", port_of(&mut server));
    for arguments in [["--peek", "http"], ["--peek", "none"], ["--sticky", "query:user"]] {
        let lb = Ringway::to([&address]).with(arguments).start();
        let url = format!("ws://{}/", lb.address());
        let mut client = python_script("websocket_echo.py", &["client", &url]);
        let report = json_line(&mut client);
        client.succeed();
        assert_eq!(report["same"], report["of"], "{arguments:?}");
    }
}

#[test]
fn messages_of_1_b_to_16_mib_come_back_as_they_were_with_node_ws() {
    let _turn = both_cores();
    let mut server = node_script("ws_server.js", &[]);
    let address = format!("127.0.0.1:{}", port_of(&mut server));
    for arguments in [["--peek", "http"], ["--peek", "auto"], ["--sticky", "query:user"]] {
        let lb = Ringway::to([&address]).with(arguments).start();
        let url = format!("--url=ws://{}/", lb.address());
        let mut client = node_script("ws_client.js", &[&url]);
        let report = json_line(&mut client);
        client.succeed();
        assert_eq!(report["same"], 12, "{arguments:?}");
        assert_eq!(report["reason"], "done", "the close frame crosses too");
    }
}
