import AsyncHTTPClient
import Core
import Foundation
import Logging
import Metrics
import NIOCore
import ServiceLifecycle
import Serving
import Synchronization

/// OpenLineage events on their way to a file of JSON lines and, where one is set, to an address.
///
/// Guarantees: `record` never waits; each way has a bounded queue that drops its oldest and counts them; events of one way keep
/// their order; a post that may succeed later is tried again after a growing pause, one that is refused for good is dropped;
/// after a clean stop the file has every event that was not dropped.
package final class OpenLineageLog: Service, Sendable {
  /// Sends one event's text; gives the status of the answer.
  package typealias Post = @Sendable ([UInt8]) async throws -> Int

  package enum Sink: String, CaseIterable { case file, http }

  private struct Queues {
    var file = PredictionBuffer<[UInt8]>(capacity: Limits.openLineageEvents)
    var http = PredictionBuffer<[UInt8]>(capacity: Limits.openLineageEvents)
  }

  private let queues = Mutex(Queues())
  private let file: OpenLineageFile
  private let post: Post?
  private let backOff: (first: Span, limit: Span)
  private let sleep: @Sendable (Span) async throws -> Void
  private let log: Logger
  private let (news, announce) = AsyncStream.makeStream(
    of: Void.self, bufferingPolicy: .bufferingNewest(1))
  private let (toSend, announceToSend) = AsyncStream.makeStream(
    of: Void.self, bufferingPolicy: .bufferingNewest(1))

  /// - Parameters:
  ///   - folder: of the file `events.jsonl`; made with the first event.
  ///   - post: nil where there is no address.
  ///   - sleep: waits between two tries.
  package init(
    folder: String, fileBytes: Int = Limits.openLineageFileBytes, post: Post?, log: Logger,
    backOff: (first: Span, limit: Span) = (.seconds(1), .minutes(1)),
    sleep: @escaping @Sendable (Span) async throws -> Void = {
      try await Task.sleep(for: $0.duration)
    }
  ) {
    file = OpenLineageFile(folder: folder, limit: fileBytes)
    self.post = post
    self.backOff = backOff
    self.sleep = sleep
    self.log = log
    for sink in Sink.allCases where sink == .file || post != nil { count(0, droppedBy: sink) }
  }

  /// Takes an event; never waits.
  package func record(_ event: JSON) {
    let line = event.utf8 + [UInt8(ascii: "\n")]
    let dropped = queues.withLock { queues in
      (queues.file.append([line]), post == nil ? 0 : queues.http.append([line]))
    }
    count(dropped.0, droppedBy: .file)
    count(dropped.1, droppedBy: .http)
    announce.yield()
    announceToSend.yield()
  }

  package func run() async throws {
    await cancelWhenGracefulShutdown {
      await withTaskGroup(of: Void.self) { group in
        group.addTask { for await _ in self.news { self.write() } }
        group.addTask { for await _ in self.toSend { await self.send() } }
      }
    }
    write()
    await sendOnce()
  }

  // MARK: The file

  /// Writes what waits. What the disk does not take is dropped, and counted: no run depends on it.
  private func write() {
    while true {
      let lines = queues.withLock { $0.file.take(100) }
      if lines.isEmpty { return }
      do {
        try file.append(lines)
        count(lines.count, takenBy: .file)
      } catch {
        count(lines.count, droppedBy: .file)
        log.error("cannot write OpenLineage events", metadata: ["error": "\(error)"])
      }
      queues.withLock { $0.file.finish(lines.count) }
    }
  }

  // MARK: The address

  private enum Verdict { case taken, refused, later }

  private func send() async {
    guard let post else { return }
    var pause = backOff.first
    while !Task.isCancelled, let line = queues.withLock({ $0.http.take(1).first }) {
      switch await verdict(line, post) {
      case .taken:
        finish(taken: true)
        pause = backOff.first
      case .refused: finish(taken: false)
      case .later:
        // Back to the front; what came meanwhile may have taken its room.
        count(queues.withLock { $0.http.putBack([line]) }, droppedBy: .http)
        do { try await sleep(pause) } catch { return }
        pause = min(Span(microseconds: pause.microseconds * 2), backOff.limit)
      }
    }
  }

  /// The last try at a stop: what fails now stays in the file only.
  private func sendOnce() async {
    guard let post else { return }
    while let line = queues.withLock({ $0.http.take(1).first }) {
      let verdict = await verdict(line, post)
      finish(taken: verdict == .taken)
      guard verdict == .later else { continue }
      let rest = queues.withLock { queues in
        let rest = queues.http.take(.max)
        queues.http.finish(rest.count)
        return rest.count
      }
      return count(rest, droppedBy: .http)
    }
  }

  private func verdict(_ line: [UInt8], _ post: Post) async -> Verdict {
    do {
      let status = try await post(line.dropLast())
      if (200..<300).contains(status) { return .taken }
      log.warning("OpenLineage events are not taken", metadata: ["status": "\(status)"])
      return status == 408 || status == 429 || status >= 500 ? .later : .refused
    } catch {
      log.warning("OpenLineage events cannot be sent", metadata: ["error": "\(error)"])
      return .later
    }
  }

  private func finish(taken: Bool) {
    queues.withLock { $0.http.finish(1) }
    if taken { count(1, takenBy: .http) } else { count(1, droppedBy: .http) }
  }

  // MARK: Metrics

  private func count(_ events: Int, takenBy sink: Sink) {
    Counter(label: "martlet_openlineage_events_total", dimensions: [("sink", sink.rawValue)])
      .increment(by: events)
  }

  private func count(_ events: Int, droppedBy sink: Sink) {
    Counter(label: "martlet_openlineage_dropped_total", dimensions: [("sink", sink.rawValue)])
      .increment(by: events)
  }
}

extension OpenLineageLog {
  /// Posts to the configured address; nil where there is none.
  package static func post(_ configuration: Configuration.Lineage) -> Post? {
    guard let text = configuration.openlineageURL else { return nil }
    let address = endpoint(text)
    let token = configuration.openlineageToken?.value
    return { body in
      var request = HTTPClientRequest(url: address)
      request.method = .POST
      request.headers.add(name: "content-type", value: "application/json")
      if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
      request.body = .bytes(ByteBuffer(bytes: body))
      let response = try await HTTPClient.shared.execute(request, timeout: .seconds(5))
      _ = try? await response.body.collect(upTo: 1 << 20)
      return Int(response.status.code)
    }
  }

  /// The path of the specification's API where the address has none.
  package static func endpoint(_ text: String) -> String {
    guard var parts = URLComponents(string: text), parts.path.isEmpty || parts.path == "/" else {
      return text
    }
    parts.path = "/api/v1/lineage"
    return parts.string ?? text
  }
}

/// `events.jsonl` and the files that were put aside, `events.1.jsonl` the newest.
struct OpenLineageFile: Sendable {
  let folder: String
  /// Bytes after which the file is put aside.
  let limit: Int

  var path: String { folder + "/events.jsonl" }

  private func aside(_ number: Int) -> String { "\(folder)/events.\(number).jsonl" }

  /// Appends whole lines.
  func append(_ lines: [[UInt8]]) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let handle = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard handle >= 0 else {
      throw PlatformError(
        .storage, "cannot write \(path): \(String(cString: strerror(errno)))")
    }
    let file = FileHandle(fileDescriptor: handle, closeOnDealloc: false)
    defer { try? file.close() }
    try file.write(contentsOf: Data(lines.flatMap { $0 }))
    if try file.offset() >= UInt64(limit) { try putAside() }
  }

  private func putAside() throws {
    let files = FileManager.default
    try? files.removeItem(atPath: aside(Limits.openLineageFiles))
    for number in (1..<Limits.openLineageFiles).reversed()
    where files.fileExists(atPath: aside(number)) {
      try files.moveItem(atPath: aside(number), toPath: aside(number + 1))
    }
    try files.moveItem(atPath: path, toPath: aside(1))
  }
}
