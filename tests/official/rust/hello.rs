use std::env;

fn main() {
    println!("hello from {}", env::args().nth(1).unwrap_or_default());
}
