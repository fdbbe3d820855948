import ArgumentParser
import Core
import Foundation
import Server

struct ReplayCommand: AsyncParsableCommand {
  enum Way: String, ExpressibleByArgument, CaseIterable { case push, kafka }

  static let configuration = CommandConfiguration(
    commandName: "replay", abstract: "Send a data set as a stream, as it came or disturbed.",
    discussion: """
      The records of a file (CSV, Parquet, JSONL) go out in the order of their event times, at a rate or at a multiple of
      the speed at which they happened. The same options and seed give the same stream, and a record sent twice has the
      same id: sources count it once.

      EXAMPLE
        martlet replay events.parquet --source events --rate 500
        martlet replay events.csv --source events --speed 60x --late 2%:10m --duplicates 1% --disorder 5%:100
        martlet replay events.csv --source events --to kafka --rate 20000 --drift 'amount*1.5@50%' --redate
      """)

  @OptionGroup var options: CommonOptions
  @Argument(help: "The data set.") var file: String
  @Option(help: "The source that it is sent to.") var source: String
  @Option(help: "push: to the platform. kafka: to the brokers of the configuration.")
  var to = Way.push
  @Option(help: "Records a second (default, without --speed: as fast as they are taken).")
  var rate: Double?
  @Option(help: "How many times as fast as it happened, as in 60x.") var speed: String?
  @Option(help: "SHARE:SPAN: so many records come late, by at most that span of event time.")
  var late: String?
  @Option(help: "SHARE:RECORDS: so many records change places with one at most so far away.")
  var disorder: String?
  @Option(help: "Share of records that are sent a second time, as in 1%.") var duplicates: String?
  @Option(help: "COLUMN*FACTOR@START or COLUMN+AMOUNT@START; may be repeated.")
  var drift: [String] = []
  @Flag(help: "Move all event times by one span, so that the newest is now.") var redate = false
  @Option(help: "Chooses what is disturbed, and makes the ids of records without one.")
  var seed: UInt64 = 1
  @Option(help: "Send at most so many of the file's records.") var limit: Int?
  @Option(help: "csv, parquet or jsonl (default: by the name's ending).") var format: String?
  @Option(help: "The topic (default: the source's).") var topic: String?
  @Option(help: "Records sent together at most.") var batch = 1_000

  private var factor: Double? {
    speed.flatMap { text in Double(text.hasSuffix("x") ? String(text.dropLast()) : text) }
  }

  func validate() throws {
    if rate != nil, speed != nil { throw ValidationError("say --rate or --speed, not both") }
    if let rate, !(rate > 0 && rate <= 10_000_000) {
      throw ValidationError("--rate is a number of records a second above 0, not \(rate)")
    }
    if let speed, !(factor.map { $0 > 0 && $0.isFinite } ?? false) {
      throw ValidationError("--speed is a factor above 0, as in 60x, not '\(speed)'")
    }
    if let limit, limit < 1 { throw ValidationError("--limit must be at least 1") }
    guard (1...100_000).contains(batch) else {
      throw ValidationError("--batch is a number of records from 1 to 100000")
    }
    if topic != nil, to == .push { throw ValidationError("--topic goes with --to kafka") }
    if let format, FileFormat(rawValue: format) == nil {
      throw ValidationError("--format is csv, parquet or jsonl, not '\(format)'")
    }
    _ = try disturbance()
  }

  private func disturbance() throws -> ReplayDisturbance {
    var disturbance = ReplayDisturbance()
    disturbance.seed = seed
    if let late {
      let parts = late.split(separator: ":").map(String.init)
      guard parts.count == 2, let share = Self.share(parts[0]), let span = Span(parts[1]) else {
        throw ValidationError("--late is a share and a span, as in 2%:10m, not '\(late)'")
      }
      disturbance.late = (share, span)
    }
    if let disorder {
      let parts = disorder.split(separator: ":").map(String.init)
      guard parts.count == 2, let share = Self.share(parts[0]), let records = Int(parts[1]),
        records > 0
      else {
        throw ValidationError(
          "--disorder is a share and a number of records, as in 5%:100, not '\(disorder)'")
      }
      disturbance.disorder = (share, records)
    }
    if let duplicates {
      guard let share = Self.share(duplicates) else {
        throw ValidationError("--duplicates is a share, as in 1%, not '\(duplicates)'")
      }
      disturbance.duplicates = share
    }
    return disturbance
  }

  /// `1%` or `0.01`.
  private static func share(_ text: String) -> Double? {
    let isPercent = text.hasSuffix("%")
    guard let number = Double(isPercent ? String(text.dropLast()) : text) else { return nil }
    let share = isPercent ? number / 100 : number
    return (0...1).contains(share) ? share : nil
  }

  func run() async throws {
    let (configuration, _) = try ConfigurationLoader.load(options)
    let project = try ReplayData.project(configuration)
    let definition = try ReplayData.source(source, of: project)
    var reading = ReplayData.Options()
    reading.format = format.flatMap(FileFormat.init(rawValue:))
    reading.limit = limit
    reading.drifts = try drift.map { text in try ReplayDrift(text) }
    reading.newest = redate ? SystemClock().now : nil
    let data = try await ReplayData(path: file, source: definition, reading)
    let schedule = ReplaySchedule(times: data.records.map(\.time), try disturbance())
    let client = "replay-\(data.digest)-\(seed)"
    switch to {
    case .kafka:
      let kafka = try ReplayKafka(
        configuration, source: definition, topic: topic, project: project, client: client)
      do {
        let summary = try await send(data, schedule) { records in
          try await kafka.send(records)
          return ReplaySummary()
        }
        await kafka.close()
        report(summary)
      } catch {
        await kafka.close()
        throw error
      }
    case .push:
      let summary = try await PlatformConnection.with(options) { platform in
        try await send(data, schedule) { records in
          try await push(records, to: platform, as: client)
        }
      }
      report(summary)
    }
  }

  /// Sends what is due, together up to the size of a batch, and waits for what is not.
  private func send(
    _ data: ReplayData, _ schedule: ReplaySchedule,
    _ take: ([ReplayData.Record]) async throws -> ReplaySummary
  ) async throws -> ReplaySummary {
    let clock = ContinuousClock()
    let start = clock.now
    var summary = ReplaySummary()
    summary.unusable = data.unusable
    var bar = ProgressLine("replay")
    var next = 0
    while next < schedule.steps.count {
      if let due = due(next, schedule.steps[next]) {
        try await clock.sleep(until: start + due)
      }
      let first = next
      let now = clock.now - start
      next += 1
      while next < schedule.steps.count, next - first < batch,
        due(next, schedule.steps[next]).map({ $0 <= now }) ?? true
      {
        next += 1
      }
      let steps = schedule.steps[first..<next]
      summary.add(try await take(steps.map { data.records[$0.record] }))
      summary.sent += steps.count
      summary.duplicates += steps.count { $0.isDuplicate }
      summary.late += steps.count { $0.isLate && !$0.isDuplicate }
      bar.show(share: Double(next) / Double(schedule.steps.count), rows: Int64(next))
    }
    bar.end()
    let taken = clock.now - start
    summary.seconds = Double(taken.components.seconds) + Double(taken.components.attoseconds) / 1e18
    return summary
  }

  /// When a step is due after the start; nil for at once.
  private func due(_ place: Int, _ step: ReplayStep) -> Duration? {
    if let rate { return .seconds(Double(place) / rate) }
    return factor.map { .microseconds(Int64(Double(step.arrival) / $0)) }
  }

  /// Pushes records in runs of consecutive numbers, which is how a client numbers a push.
  private func push(
    _ records: [ReplayData.Record], to platform: PlatformConnection, as client: String
  ) async throws -> ReplaySummary {
    var summary = ReplaySummary()
    var first = 0
    while first < records.count {
      var end = first + 1
      while end < records.count, records[end].number == records[end - 1].number + 1 { end += 1 }
      summary.add(try await push(records[first..<end], to: platform, as: client))
      first = end
    }
    return summary
  }

  private static let attempts = 60

  /// Sends again what was refused for now: numbered records count once.
  private func push(
    _ run: ArraySlice<ReplayData.Record>, to platform: PlatformConnection, as client: String
  ) async throws -> ReplaySummary {
    let lines = run.map { String(decoding: $0.json, as: UTF8.self) }
    var attempt = 0
    while true {
      do {
        let receipt = try await platform.push(
          lines, to: source, client: client, sequence: run.first?.number ?? 1)
        var summary = ReplaySummary()
        summary.accepted = receipt["accepted"]?.int ?? 0
        summary.known = receipt["duplicates"]?.int ?? 0
        summary.quarantined = receipt["quarantined"]?.int ?? 0
        summary.refusals = attempt
        return summary
      } catch let error as PlatformError where error.retryable && attempt < Self.attempts {
        attempt += 1
        try await Task.sleep(for: .milliseconds(min(2_000, 50 << min(attempt, 6))))
      }
    }
  }

  private func report(_ summary: ReplaySummary) {
    if options.json { return print(summary.json(to.rawValue, seed).text) }
    print(summary.text(to))
  }
}

/// What was sent, and what the platform said.
private struct ReplaySummary: Sendable {
  var sent = 0
  var duplicates = 0
  var late = 0
  /// Rows without an event time, which are not sent.
  var unusable = 0
  var accepted: Int64 = 0
  var known: Int64 = 0
  var quarantined: Int64 = 0
  /// Pushes that were refused for now and sent again.
  var refusals = 0
  var seconds = 0.0

  var rate: Double { seconds > 0 ? Double(sent) / seconds : 0 }

  mutating func add(_ other: ReplaySummary) {
    accepted += other.accepted
    known += other.known
    quarantined += other.quarantined
    refusals += other.refusals
  }

  func json(_ way: String, _ seed: UInt64) -> JSON {
    .object([
      "to": .string(way), "seed": .string(String(seed)), "sent": .int(Int64(sent)),
      "duplicates": .int(Int64(duplicates)), "late": .int(Int64(late)),
      "unusable": .int(Int64(unusable)), "accepted": .int(accepted), "known": .int(known),
      "quarantined": .int(quarantined), "sent_again": .int(Int64(refusals)),
      "seconds": .double(seconds), "rate": .double(rate),
    ])
  }

  func text(_ way: ReplayCommand.Way) -> String {
    var text =
      "\(Terminal.grouped(Int64(sent))) records in \(Terminal.rounded(seconds, 1)) s "
      + "(\(Terminal.grouped(Int64(rate)))/s): \(Terminal.grouped(Int64(duplicates))) twice, "
      + "\(Terminal.grouped(Int64(late))) late"
    if unusable > 0 { text += "; \(Terminal.grouped(Int64(unusable))) without an event time" }
    guard way == .push else { return text }
    text += "\n\(Terminal.grouped(accepted)) stored, \(Terminal.grouped(known)) known already, "
    return text + "\(Terminal.grouped(quarantined)) in quarantine"
  }
}
