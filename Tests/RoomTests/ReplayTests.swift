import Core
import Features
import Foundation
import Server
import TestKit
import Testing

@Suite struct ReplayTests {
  /// A second between two events, in no order, with some at the same time.
  private let times: [Int64] = (0..<5_000).map { Int64(($0 * 7_919) % 4_000) * 1_000_000 }

  private func schedule(_ change: (inout ReplayDisturbance) -> Void = { _ in }) -> ReplaySchedule {
    var disturbance = ReplayDisturbance()
    disturbance.seed = 7
    change(&disturbance)
    return ReplaySchedule(times: times, disturbance)
  }

  @Test func `without disturbance every record goes out once, in the order of event times`() {
    let steps = schedule().steps
    #expect(steps.count == times.count)
    #expect(Set(steps.map(\.record)).count == times.count)
    let inOrder = times.indices.sorted { (times[$0], $0) < (times[$1], $1) }
    #expect(steps.map(\.record) == inOrder)
    #expect(steps.allSatisfy { $0.arrival == times[$0.record] })
  }

  @Test func `the same seed gives the same stream and another seed another one`() {
    func disturbed(_ seed: UInt64) -> [ReplayStep] {
      schedule {
        $0.seed = seed
        $0.late = (0.1, .minutes(1))
        $0.disorder = (0.1, 20)
        $0.duplicates = 0.05
      }.steps
    }
    #expect(disturbed(1) == disturbed(1))
    #expect(disturbed(1) != disturbed(2))
  }

  @Test func `late records come later by at most what was said, and the others when they happened`()
  {
    let steps = schedule { $0.late = (0.2, .minutes(2)) }.steps
    let late = steps.filter(\.isLate)
    #expect((800...1_200).contains(late.count), "\(late.count)")
    for step in steps {
      let delay = step.arrival - times[step.record]
      #expect(step.isLate ? (1...120_000_000).contains(delay) : delay == 0)
    }
    #expect(zip(steps, steps.dropFirst()).allSatisfy { $0.arrival <= $1.arrival })
  }

  @Test func `duplicates are sent once more, not before the first time`() {
    let steps = schedule { $0.duplicates = 0.1 }.steps
    let again = steps.count(where: \.isDuplicate)
    #expect((400...600).contains(again), "\(again)")
    var seen: [Int: Int] = [:]
    for step in steps {
      #expect(step.isDuplicate == (seen[step.record] != nil))
      seen[step.record, default: 0] += 1
    }
    #expect(seen.count == times.count && seen.values.allSatisfy { $0 <= 2 })
    #expect(steps.filter { !$0.isDuplicate } == schedule().steps)
  }

  @Test
  func
    `disorder changes places and neither loses nor adds a record nor moves the times of sending`()
  {
    let plain = schedule().steps
    let steps = schedule { $0.disorder = (0.3, 10) }.steps
    #expect(steps.map(\.record) != plain.map(\.record))
    #expect(steps.map(\.record).sorted() == plain.map(\.record).sorted())
    #expect(steps.map(\.arrival) == plain.map(\.arrival))
    let places = Dictionary(uniqueKeysWithValues: plain.enumerated().map { ($1.record, $0) })
    // Before its place a record comes by no more than one change reaches.
    for (place, step) in steps.enumerated() { #expect((places[step.record] ?? 0) - place <= 10) }
  }

  @Test func `drift is written as a factor or an amount from a share or a time on`() throws {
    #expect(try ReplayDrift("amount*1.5@50%").changed(10) == 15)
    #expect(try ReplayDrift("amount+3@25%").changed(10) == 13)
    let down = try ReplayDrift("amount-3@2026-01-31T00:00:00Z")
    #expect(down.changed(10) == 7)
    #expect(down.start == .time(try Timestamp(iso8601: "2026-01-31T00:00:00Z")))
    for wrong in [
      "", "amount", "amount*2", "*2@50%", "amount*x@50%", "amount*2@", "a*2@110%", "a*2@soon",
    ] {
      #expect(throws: PlatformError.self, "\(wrong)") { try ReplayDrift(wrong) }
    }
  }
}

@Suite struct ProducedRecordsTests {
  private let project = ProjectDefinition(
    name: "test",
    entities: [
      EntityDefinition(name: "pair", key: ["user", "shop"]),
      EntityDefinition(name: "user", key: ["user"]),
    ],
    sources: [
      SourceDefinition(
        name: "visits", eventTime: "at", eventID: "id",
        columns: [
          ColumnDefinition(name: "user", type: .int64),
          ColumnDefinition(name: "shop", type: .string),
        ], kafka: KafkaDefinition(topic: "visits", push: .produce))
    ],
    views: [
      ViewDefinition(name: "pairs", entity: "pair", source: "visits", features: []),
      ViewDefinition(name: "users", entity: "user", source: "visits", features: []),
    ])

  private func records(
    _ body: String, client: String? = "c", isLines: Bool = false
  ) throws
    -> [ProducedRecord]
  {
    let source = try #require(project.sources.first)
    var records = ProducedRecords(source, topic: "visits", in: project, client: client, first: 5)
    let bytes = Array(body.utf8)
    try bytes.withUnsafeBufferPointer { bytes in
      if isLines { records.append(lines: bytes) } else { try records.append(body: bytes) }
    }
    return records.records
  }

  @Test func `a record is the bytes of one object, whatever form the push had`() throws {
    let one = #"{"user": 1, "shop": "a"}"#
    let two = #"{"user": 2, "shop": "b", "more": [1, {"x": "]"}]}"#
    for (body, isLines) in [
      ("\(one)\n\n \(two)\n", true), ("[\(one), \(two)]", false), (" \(one) \(two) ", false),
    ] {
      let found = try records(body, isLines: isLines)
      #expect(
        found.map { String(decoding: $0.value, as: UTF8.self).trimmingCharacters(in: .whitespaces) }
          == [one, two])
    }
    #expect(try records("[]").isEmpty)
  }

  @Test func `the key is the entity key of the first view, and none where a part is missing`()
    throws
  {
    let found = try records(
      #"[{"user": 1, "shop": "a|b\\c"}, {"user": 1}, {"user": null, "shop": "a"}, 7]"#)
    #expect(found.map(\.key) == [#"1|a\|b\\c"#, nil, nil, nil])
  }

  @Test func `records without an id of their own have that of their client's numbers`() throws {
    let found = try records(#"[{"id": "x"}, {"user": 1}, {"id": null}]"#)
    #expect(found.map { $0.headers.map(\.value) } == [[], ["push:c:6"], ["push:c:7"]])
    let nobody = try records(#"[{"user": 1}]"#, client: nil)
    #expect(nobody.allSatisfy { $0.headers.isEmpty })
  }
}
