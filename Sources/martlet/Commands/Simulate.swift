import ArgumentParser
import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import Server
import Synchronization

struct SimulateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate",
    abstract: "Feed a simulated shop: customers who browse, buy, return and leave.",
    discussion: """
      Feeds the sources `events` and `outcomes` of examples/shop. The same options give the same records.

      EXAMPLE
        martlet simulate --days 60 --customers 2000 --seed 7
        martlet simulate --days 90 --skip-days 60 --drift-day 60 --drift 1     go on with other behaviour
        martlet simulate --days 10 --output records                           write files instead
      """)

  @OptionGroup var options: CommonOptions
  @Option(help: "Chooses the run.") var seed: UInt64 = 1
  @Option(help: "Customers at once.") var customers = 2_000
  @Option(help: "First day (default: so that the last one ends today).") var start: String?
  @Option(help: "Days to simulate.") var days = 60
  @Option(help: "Days at the beginning that were fed before.") var skipDays = 0
  @Option(help: "Stop at the end of the day that reaches so many events.") var events: Int?
  @Option(help: "Share of broken records.") var bad = 0.001
  @Option(help: "Share of records that arrive a day late.") var late = 0.01
  @Option(help: "Share of customers whose records come as a daily file.") var branch = 0.03
  @Option(help: "Day from which customers behave differently.") var driftDay: Int?
  @Option(help: "How differently, 0 to 1.") var drift = 1.0
  @Option(help: "Events per second at most (default: as fast as they are taken).") var rate: Int?
  @Option(help: "Pushes under way at once.") var connections = 8
  @Option(help: "Write records to this folder instead of pushing them.") var output: String?
  @Flag(help: "Move the platform's clock along (it must run with clock.mode = simulated).")
  var moveClock = false

  func validate() throws {
    for (name, share) in [("bad", bad), ("late", late), ("branch", branch), ("drift", drift)]
    where !(0...1).contains(share) {
      throw ValidationError("--\(name) is a share between 0 and 1, not \(share)")
    }
    guard days > 0, customers > 0, skipDays >= 0, skipDays < days, connections > 0, (rate ?? 1) > 0
    else {
      throw ValidationError(
        "--days, --customers, --connections and --rate must be positive, --skip-days below --days")
    }
  }

  func run() async throws {
    let simulator = ShopSimulator(try simulatorOptions())
    if let output {
      let sink = FileSink(folder: output)
      return report(try await feed(simulator) { try sink.take($0) })
    }
    let start = ContinuousClock.now
    let (total, taken) = try await PlatformConnection.with(options) { platform in
      let sink = PlatformSink(
        platform: platform, connections: connections, rate: rate, moveClock: moveClock)
      let total = try await feed(simulator) { try await sink.take($0) }
      return (total, sink.taken.sum)
    }
    report(total, taken, seconds: (ContinuousClock.now - start).inSeconds)
  }

  private func simulatorOptions() throws -> ShopSimulator.Options {
    let first =
      try start.map { try Timestamp(iso8601: $0) }
      ?? (SystemClock().now - .days(Int64(days))).floored(to: .days(1))
    return ShopSimulator.Options(
      seed: seed, customers: customers, start: first.floored(to: .days(1)), bad: bad, late: late,
      branch: branch, driftDay: driftDay, drift: drift)
  }

  private func feed(
    _ simulator: ShopSimulator, _ take: (ShopSimulator.Day) async throws -> Void
  ) async throws -> Total {
    var simulator = simulator
    var total = Total()
    var bar = ProgressLine("simulate")
    for number in 0..<days {
      let day = simulator.nextDay()
      guard number >= skipDays else { continue }
      try await take(day)
      total.add(day)
      bar.show(
        share: Double(number + 1 - skipDays) / Double(days - skipDays), rows: Int64(total.events))
      if let events, total.events >= events { break }
    }
    bar.end()
    return total
  }

  private struct Total: Sendable {
    var days = 0
    var lastDay = 0
    var events = 0
    var outcomes = 0
    var files = 0
    var end = Timestamp(microseconds: 0)

    mutating func add(_ day: ShopSimulator.Day) {
      days += 1
      lastDay = day.number
      events += day.events.count + day.branchRows.count
      outcomes += day.outcomes.count
      files += day.branchRows.isEmpty ? 0 : 1
      end = day.end
    }
  }

  private func report(_ total: Total, _ taken: Taken = Taken(), seconds: Double? = nil) {
    if options.json {
      let fields: KeyValuePairs<String, JSON> = [
        "days": .int(Int64(total.days)), "next_day": .int(Int64(total.lastDay + 1)),
        "events": .int(Int64(total.events)), "outcomes": .int(Int64(total.outcomes)),
        "stored": .int(taken.stored), "known": .int(taken.known),
        "quarantined": .int(taken.quarantined),
        "files": .int(Int64(total.files)), "end": .string(total.end.description),
        "seconds": seconds.map { .double($0) } ?? .null,
      ]
      return print(JSON.object(fields).text)
    }
    var text =
      "\(Terminal.grouped(Int64(total.events))) events and \(Terminal.grouped(Int64(total.outcomes))) outcomes of \(total.days) days, \(total.files) files"
    if let seconds {
      text += String(
        format: ", %.1f s (%@ events/s)", seconds,
        Terminal.grouped(Int64(Double(total.events) / max(seconds, 0.001))))
      text += "; \(Terminal.grouped(taken.stored)) stored"
      if taken.known > 0 { text += ", \(Terminal.grouped(taken.known)) known already" }
      if taken.quarantined > 0 { text += ", \(Terminal.grouped(taken.quarantined)) in quarantine" }
    }
    print(text)
  }
}

extension Duration {
  fileprivate var inSeconds: Double {
    Double(components.seconds) + Double(components.attoseconds) / 1e18
  }
}

/// What became of the records that were sent.
private struct Taken: Sendable {
  var stored: Int64 = 0
  var known: Int64 = 0
  var quarantined: Int64 = 0
}

private final class TakenSum: Sendable {
  private let total = Mutex(Taken())

  var sum: Taken { total.withLock { $0 } }

  func add(_ receipt: JSON) {
    total.withLock { total in
      total.stored += receipt["accepted"]?.int ?? 0
      total.known += receipt["duplicates"]?.int ?? 0
      total.quarantined += receipt["quarantined"]?.int ?? 0
    }
  }
}

/// Pushes a day's records, several batches at once, and uploads the branch's file beside them.
private struct PlatformSink: Sendable {
  let platform: PlatformConnection
  let connections: Int
  let rate: Int?
  let moveClock: Bool
  let taken = TakenSum()

  private static let batch = 500

  func take(_ day: ShopSimulator.Day) async throws {
    if moveClock {
      _ = try await platform.post("/api/v1/clock", .object(["now": .string(day.end.description)]))
    }
    let begin = ContinuousClock.now
    try await withThrowingTaskGroup(of: Void.self) { group in
      if !day.branchRows.isEmpty {
        group.addTask { try await upload(day) }
      }
      var running = 0
      for start in stride(from: 0, to: day.events.count, by: Self.batch) {
        if running == connections {
          try await group.next()
          running -= 1
        }
        let lines = day.events[start..<min(start + Self.batch, day.events.count)]
        group.addTask { try await push(lines, to: "events") }
        running += 1
      }
      group.addTask { try await push(day.outcomes[...], to: "outcomes") }
      try await group.waitForAll()
    }
    if let rate {
      let due = begin + .seconds(Double(day.events.count) / Double(rate))
      try await Task.sleep(until: due, clock: .continuous)
    }
  }

  private func push(_ lines: ArraySlice<String>, to source: String) async throws {
    guard !lines.isEmpty else { return }
    taken.add(try await platform.push(lines, to: source))
  }

  private func upload(_ day: ShopSimulator.Day) async throws {
    let text = ([ShopSimulator.branchHeader] + day.branchRows).joined(separator: "\n") + "\n"
    taken.add(
      try await platform.post(
        "/api/v1/sources/events/files?name=branch-\(day.number).csv",
        body: .bytes(ByteBuffer(string: text))))
  }
}

/// Writes `events.jsonl`, `outcomes.jsonl` and one CSV a day of the branch.
private struct FileSink {
  let folder: String

  func take(_ day: ShopSimulator.Day) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try append(day.events, to: "events.jsonl")
    try append(day.outcomes, to: "outcomes.jsonl")
    if !day.branchRows.isEmpty {
      try append([ShopSimulator.branchHeader] + day.branchRows, to: "branch-\(day.number).csv")
    }
  }

  private func append(_ lines: [String], to name: String) throws {
    guard !lines.isEmpty else { return }
    let path = folder + "/" + name
    guard
      FileManager.default.fileExists(atPath: path)
        || FileManager.default.createFile(atPath: path, contents: nil),
      let file = FileHandle(forWritingAtPath: path)
    else {
      throw PlatformError(.invalidArgument, "cannot write \(path)")
    }
    try file.seekToEnd()
    try file.write(contentsOf: Data((lines.joined(separator: "\n") + "\n").utf8))
    try file.close()
  }
}
