import Foundation
import Synchronization

/// A Kafka cluster for tests: librdkafka's mock brokers in a process of their own, spoken to over TCP.
///
/// Guarantees: the process ends when `with` returns, or when the tests do.
package final class MockKafkaProcess: Sendable {
  package static let executable =
    ProcessInfo.processInfo.environment["MARTLET_MOCK_KAFKA"]
    ?? "\(PlatformProcess.repository)/.build/release/MockKafka"

  /// `host:port,…`
  package let brokers: String
  private let pipes: Mutex<Pipes>

  private struct Pipes: @unchecked Sendable {
    let process: Process
    let commands: FileHandle
    let answers: FileHandle
    var unread: [UInt8] = []
  }

  private init(_ brokers: Int) throws {
    let process = Process()
    let input = Pipe()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: Self.executable)
    process.arguments = ["\(brokers)"]
    process.standardInput = input
    process.standardOutput = output
    try process.run()
    var pipes = Pipes(
      process: process, commands: input.fileHandleForWriting,
      answers: output.fileHandleForReading)
    let first = try Self.line(&pipes)
    guard first.hasPrefix("brokers ") else {
      process.terminate()
      throw Disappointment("the mock cluster said '\(first)'")
    }
    self.brokers = String(first.dropFirst("brokers ".count))
    self.pipes = Mutex(pipes)
  }

  /// Starts a cluster, creates topics, runs `body`, and ends the cluster.
  @discardableResult
  package static func with<Result>(
    brokers: Int = 1, topics: [String: Int], _ body: (MockKafkaProcess) async throws -> Result
  ) async throws -> Result {
    let cluster = try MockKafkaProcess(brokers)
    defer { cluster.stop() }
    for (topic, partitions) in topics.sorted(by: { $0.key < $1.key }) {
      try cluster.tell("topic \(topic) \(partitions)")
    }
    return try await body(cluster)
  }

  /// Gives a command (see `Tests/MockKafka/main.swift`) and waits for its answer.
  package func tell(_ command: String) throws {
    try pipes.withLock { pipes in
      try pipes.commands.write(contentsOf: Data((command + "\n").utf8))
      let answer = try Self.line(&pipes)
      guard answer == "ok" else {
        throw Disappointment("the mock cluster answered '\(command)' with '\(answer)'")
      }
    }
  }

  private func stop() {
    // The end of its input is not enough: programs that were started meanwhile hold the other end of the pipe too.
    pipes.withLock { pipes in
      try? pipes.commands.close()
      kill(pipes.process.processIdentifier, SIGKILL)
    }
  }

  private static func line(_ pipes: inout Pipes) throws -> String {
    while true {
      if let end = pipes.unread.firstIndex(of: UInt8(ascii: "\n")) {
        let line = String(decoding: pipes.unread[..<end], as: UTF8.self)
        pipes.unread.removeSubrange(...end)
        return line
      }
      let more = pipes.answers.availableData
      guard !more.isEmpty else { throw Disappointment("the mock cluster ended") }
      pipes.unread += more
    }
  }
}
