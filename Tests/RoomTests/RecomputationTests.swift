import Core
import Features
import Foundation
import Jobs
import Testing

@Suite("Computing columns anew")
struct RecomputationTests {
  private static func one(_ number: Int64, since: Int64, columns: [String] = []) -> Recomputation {
    Recomputation(
      number: number, source: "orders", job: "j\(number)",
      version: TransformVersion(transform: "a.py:f", digest: "d", columns: columns),
      columns: columns, through: 0, inForceSince: Timestamp(microseconds: since))
  }

  private static func time(_ microseconds: Int64) -> Value {
    .timestamp(Timestamp(microseconds: microseconds))
  }

  private static let spine = ColumnBatch(columns: [
    Column(name: "at", type: .timestamp, [time(30), time(5), .null, time(20), time(10)])
  ])

  private static func part(_ recomputed: Int64?, _ rows: [Int]) -> SpineEpochs.Part {
    SpineEpochs.Part(recomputed: recomputed, rows: rows)
  }

  @Test("each row of a spine sees the recomputations that were in force at its time")
  func epochs() {
    let epochs = SpineEpochs(
      Self.spine, time: "at", mode: .asKnown, [Self.one(4, since: 10), Self.one(7, since: 20)])
    #expect(
      epochs.parts == [Self.part(0, [1]), Self.part(4, [4]), Self.part(nil, [0, 2, 3])])
  }

  @Test("what is known now takes every row by what is in force")
  func corrected() {
    let epochs = SpineEpochs(
      Self.spine, time: "at", mode: .asCorrected, [Self.one(4, since: 10)])
    #expect(epochs.parts == [Self.part(nil, [0, 1, 2, 3, 4])])
  }

  @Test("a bitmap of absent cells is read as the warehouse writes it")
  func bits() {
    var bits = AbsenceBits(hexadecimal: "0281")
    #expect(bits.hexadecimal == "0281")
    bits.set(1, false)
    bits.set(8, false)
    bits.set(17, true)
    #expect(bits.hexadecimal == "008002")
    bits.set(15, false)
    bits.set(17, false)
    #expect(bits.hexadecimal == nil)
    var younger = AbsenceBits(hexadecimal: "")
    let table = EventTable(
      source: "orders",
      columns: [
        .init(name: "a", position: 0, since: .min), .init(name: "b", position: 1, since: 9),
      ])
    younger.lack(["a", "b"], in: table, at: 10)
    #expect(younger.hexadecimal == nil)
    younger.lack(["a", "b"], in: table, at: 9)
    #expect(younger.hexadecimal == "02")
  }

  @Test("a cell is raw unless the code of its event or a recomputation of it made it")
  func origins() throws {
    let source = SourceDefinition(
      name: "orders", eventTime: "at",
      columns: [
        ColumnDefinition(name: "amount", type: .int64),
        ColumnDefinition(name: "gross", type: .int64),
        ColumnDefinition(name: "size", type: .int64),
      ])
    let numbers: [Value] = (1...4).map { .int64($0) }
    let rows = try StoredRows(
      ColumnBatch(columns: [
        Column(name: "sequence", values: .int64([1, 2, 3, 4])),
        Column(name: "event_id", values: .string(["a", "b", "c", "d"])),
        Column(name: "absent", type: .string, [.null, .null, .string("01"), .null]),
        Column(name: "event_timestamp", values: .timestamp([1, 2, 3, 4])),
        Column(name: "amount", type: .int64, numbers), Column(name: "gross", type: .int64, numbers),
        Column(name: "size", type: .int64, numbers),
        Column(name: "was0", values: .bool([true, false, false, false])),
      ]), source: source, earlier: 1, absence: AbsenceMap(source))
    let origins = CellOrigins(
      history: TransformHistory([
        .init(first: 2, transform: "a.py:f", digest: "d", columns: #"["gross"]"#),
        .init(first: 4, transform: "a.py:f", digest: "e", columns: nil),
      ]), earlier: [Self.one(1, since: 1, columns: ["size"])])
    let (columns, unknown) = origins.raw(rows)
    func absent(_ column: Int) -> [Bool] {
      (0..<4).map { columns[column].presence(at: $0) == .absent }
    }
    #expect(absent(0) == [false, false, true, false])
    #expect(absent(1) == [false, true, true, false])
    #expect(absent(2) == [true, false, false, false])
    #expect(unknown == [3])
  }

  @Test("a job's log keeps the newest lines, in their order")
  func log() async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let queue = try JobQueue(path: folder.path + "/jobs.sqlite", clock: SystemClock())
    let run = try await queue.file(NewJob(model: "churn", reason: "test"))
    let log = JobLog(queue, run, clock: SystemClock())
    let count = Limits.jobLogLines * 2 + 10
    for number in 1...count {
      log.say(TaskLine(level: "info", logger: "stdout", message: "line \(number)"))
    }
    try await log.flush()
    log.say(TaskLine(level: "info", logger: "stdout", message: "the last"))
    try await log.flush()
    let lines = try await queue.lines(of: run.id, limit: Limits.jobLogLines * 2)
    #expect(lines.count <= Limits.jobLogLines && lines.count > Limits.jobLogLines / 2)
    #expect(lines.last?.line.message == "the last" && lines.last?.number == Int64(count + 1))
    #expect(lines.dropLast().last?.line.message == "line \(count)")
    #expect(lines.dropLast().allSatisfy { $0.line.message == "line \($0.number)" })
    try queue.close()
  }
}
