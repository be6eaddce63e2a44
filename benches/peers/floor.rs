//! The floor of the benchmark: a program that makes the two round trips of an event, and does nothing else.
//!
//! It takes an event from the Runtime API, sends DynamoDB the PutItem that the benchmark wrote to the file
//! `FLOOR_REQUEST`, and answers with fixed bytes, over plain sockets: no SDK, no signing, no parsing, no log. Whatever
//! another program takes on top of that is its own cost.

use std::env;
use std::io::{BufRead as _, BufReader, Read as _, Result, Write as _};
use std::net::TcpStream;

fn main() -> Result<()> {
    let variable = |name| env::var(name).map_err(std::io::Error::other);
    let lambda = variable("AWS_LAMBDA_RUNTIME_API")?;
    let dynamodb = variable("AWS_ENDPOINT_URL_DYNAMODB")?.replace("http://", "");

    let next = format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: {lambda}\r\n\r\n").into_bytes();
    let item = std::fs::read_to_string(variable("FLOOR_REQUEST")?)?;
    let put = format!(
        "POST / HTTP/1.1\r\nhost: {dynamodb}\r\nx-amz-target: DynamoDB_20120810.PutItem\r\n\
         content-type: application/x-amz-json-1.0\r\nx-amz-date: 20260302T091428Z\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential=local/20260302/eu-west-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0\r\n\
         content-length: {}\r\n\r\n{item}",
        item.len()
    )
    .into_bytes();

    let mut lambda_stream = BufReader::new(connect(&lambda)?);
    let mut dynamodb_stream: Option<BufReader<TcpStream>> = None;
    loop {
        lambda_stream.get_mut().write_all(&next)?;
        let request_id = answer(&mut lambda_stream)?;
        let dynamodb_stream = match &mut dynamodb_stream {
            Some(stream) => stream,
            none => none.insert(BufReader::new(connect(&dynamodb)?)),
        };
        dynamodb_stream.get_mut().write_all(&put)?;
        answer(dynamodb_stream)?;
        let response = format!(
            "POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\nhost: {lambda}\r\n\
             content-length: 20\r\n\r\n{{\"outcome\":\"stored\"}}"
        );
        lambda_stream.get_mut().write_all(response.as_bytes())?;
        answer(&mut lambda_stream)?;
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads a response, and returns the request id from its headers, if there is one.
fn answer(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut length = 0;
    let mut request_id = String::new();
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            // Lambda, or the benchmark, is gone.
            std::process::exit(0);
        }
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().map_err(std::io::Error::other)?,
            Some(("lambda-runtime-aws-request-id", value)) => value.clone_into(&mut request_id),
            Some(_) => {}
            None if line.trim_end().is_empty() => break,
            None => {}
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    Ok(request_id)
}
