use std::io::{Read, Result, Write};
use std::net::{TcpListener, TcpStream};

fn answer(mut stream: TcpStream) -> Result<()> {
    let mut request = [0; 1024];
    stream.read(&mut request)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nrust\n")
}

fn main() -> Result<()> {
    if std::env::args().any(|word| word == "health") {
        return TcpStream::connect("127.0.0.1:8000").map(|_| ());
    }
    for stream in TcpListener::bind("0.0.0.0:8000")?.incoming() {
        if let Err(error) = stream.and_then(answer) {
            eprintln!("{error}");
        }
    }
    Ok(())
}
