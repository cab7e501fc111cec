//! What tonic wants to know of a transport, to make its record of a TLS connection.

use ::tonic::transport::server::{Connected, TcpConnectInfo};

use super::Transport;

/// Without addresses: what a transport says of itself may be a proxy's. Whoever asks knows better.
impl<IO> Connected for Transport<IO> {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpConnectInfo {
            local_addr: None,
            remote_addr: None,
        }
    }
}
