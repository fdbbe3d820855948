import Core
import Synchronization

/// What became of a file.
package struct FileReport: Sendable, Equatable, Codable {
  /// Records of the file, good and bad.
  package var rows: Int
  package var accepted: Int
  package var duplicates: Int
  package var quarantined: Int
  /// The same bytes were ingested into the source before; nothing was done.
  package var alreadyIngested: Bool
  package var seconds: Double
  /// The most frequent faults.
  package var reasons: [FaultCount]
  /// What checks with `on_fail: warn` found in stored events.
  package var warnings: [FaultCount] = []
  /// The code that made the transformed columns, by its digest; nil where there was no transform.
  package var transformDigest: String?
  /// Records of erased keys, of which nothing was kept.
  package var erased = 0
  /// Events that are older than the source keeps them, of which nothing was kept.
  package var expired = 0
  /// Columns of the source that the file has not.
  package var missingColumns: [String]
  /// Columns of the file that the source has not, or for JSON lines the number of such members.
  package var ignoredColumns: [String]
  package var unknownFields: Int

  package init(
    rows: Int = 0, accepted: Int = 0, duplicates: Int = 0, quarantined: Int = 0,
    alreadyIngested: Bool = false, seconds: Double = 0, reasons: [FaultCount] = [],
    missingColumns: [String] = [], ignoredColumns: [String] = [], unknownFields: Int = 0
  ) {
    self.rows = rows
    self.accepted = accepted
    self.duplicates = duplicates
    self.quarantined = quarantined
    self.alreadyIngested = alreadyIngested
    self.seconds = seconds
    self.reasons = reasons
    self.missingColumns = missingColumns
    self.ignoredColumns = ignoredColumns
    self.unknownFields = unknownFields
  }
}

package struct FaultCount: Sendable, Equatable, Codable {
  package var reason: String
  package var count: Int

  package init(reason: String, count: Int) {
    self.reason = reason
    self.count = count
  }
}

/// How far a file has come.
package struct FileProgress: Sendable, Equatable {
  /// Records read and validated.
  package var rows: Int
  /// The part of the file that has been read, from 0 to 1.
  package var fraction: Double

  package init(rows: Int, fraction: Double) {
    self.rows = rows
    self.fraction = fraction
  }
}

/// Brings files in: digest, read, validate, one transaction, then the online state.
///
/// Guarantees: the same bytes go into a source once; a file is stored wholly (its bad records
/// quarantined) or not at all, and with `strict` not at all where one record is bad. Reading and
/// validating run beside storing; at most `bufferRows` rows wait between them, and the warehouse's
/// transaction begins when that many have been read (of Parquet fewer) or the file ends.
package struct FileIngest: Sendable {
  /// Bad records that a strict refusal lists.
  static let strictReasons = 20
  /// Rows of a Parquet file after which storing begins.
  private static let parquetRows = 131_072
  /// Rows that wait for a transform.
  private static let transformRows = 50_000

  package let reader: any FileReader
  private let ingestor: Ingestor
  private let bufferRows: Int

  package init(
    reader: any FileReader, ingestor: Ingestor, bufferRows: Int = Limits.fileBufferRows
  ) {
    self.reader = reader
    self.ingestor = ingestor
    self.bufferRows = bufferRows
  }

  /// Ingests the file at `path`, which messages and ids call `name`, into a source.
  ///
  /// `progress` is called now and then on the reading thread.
  package func ingest(
    path: String, name: String, source: SourceDefinition, format: FileFormat? = nil,
    strict: Bool = false, progress: @escaping @Sendable (FileProgress) -> Void = { _ in }
  ) async throws -> FileReport {
    let clock = ContinuousClock()
    let start = clock.now
    try ingestor.checkTransform(of: source)
    guard let format = format ?? FileFormat(path: name) ?? FileFormat(path: path) else {
      throw PlatformError(
        .invalidArgument,
        "The format of '\(name)' cannot be told from its name; say csv, parquet or jsonl.")
    }
    let digest = try await FileDigest.sha256(of: path, name: name)
    let history = IngestHistory(ingestor.warehouse)
    if let earlier = try await history.file(digest: digest, source: source.name) {
      return FileReport(earlier)
    }
    // Parquet is read faster than it can be stored, so that storing may begin early without ever
    // waiting; text is not, and would hold pushes up for as long as it takes to read.
    let buffer = max(1, bufferRows / source.rowWeight)
    let begins = format == .parquet && !strict ? FileIngest.parquetRows / source.rowWeight : buffer
    let channel = RowChannel(capacity: buffer, readyAt: begins)
    let untransformed =
      source.transform == nil
      ? nil : RowChannel(capacity: FileIngest.transformRows / source.rowWeight)
    let reading = FileReading(
      source: source, origin: .file(name: name, digest: digest), format: format,
      strictReasons: strict ? FileIngest.strictReasons : nil, channel: untransformed ?? channel,
      progress: progress)
    let request = FileRequest(
      path: path, format: format, columns: Validator.wantedColumns(of: source),
      required: format == .jsonl ? [] : [source.eventTime], displayName: name)
    async let summary = read(request, reading)
    async let transformed: Void = transform(untransformed, into: channel, strict: strict)
    let outcome: FileOutcome
    do {
      try await channel.ready()
      outcome = try await ingestor.commit(
        FileCommit(
          source: source, digest: digest, name: name, channel: channel, strict: strict))
    } catch {
      channel.fail(error)
      _ = try? await summary
      throw error
    }
    if let earlier = outcome.earlier {
      channel.fail(CancellationError())
      _ = try? await summary
      return FileReport(earlier)
    }
    await transformed
    var report = FileReport(outcome, try await summary, unknownFields: reading.unknownFields)
    report.seconds = (clock.now - start) / .seconds(1)
    return report
  }

  /// The first records of a file, validated as they would be at ingest; nothing of them is stored.
  package func sample(
    path: String, name: String, source: SourceDefinition, format: FileFormat?, rows limit: Int
  ) async throws -> ValidatedRows {
    struct Enough: Error {}
    guard let format = format ?? FileFormat(path: name) ?? FileFormat(path: path) else {
      throw PlatformError(
        .invalidArgument,
        "The format of '\(name)' cannot be told from its name; say csv, parquet or jsonl.")
    }
    let origin = RecordOrigin.file(name: name, digest: "sample")
    let reading = Mutex(
      FileReading.State(
        validator: Validator(source: source, origin: origin),
        parser: RecordParser(source: source, origin: origin, maximumRows: .max)))
    let found = SampledRows(source)
    let request = FileRequest(
      path: path, format: format, columns: Validator.wantedColumns(of: source),
      required: format == .jsonl ? [] : [source.eventTime], displayName: name)
    do {
      _ = try await reader.read(request) { raw in
        let rows = try reading.withLock { state in
          format == .jsonl ? state.parsed(raw) : try state.validator.validate(raw)
        }
        if found.add(rows) >= limit { throw Enough() }
      }
    } catch is Enough {}
    let rows = found.rows
    return rows.count > limit ? rows.keeping(Array(0..<limit)) : rows
  }

  /// Brings the rows of `raw` through the source's transform; nothing to do where there is none.
  private func transform(_ raw: RowChannel?, into channel: RowChannel, strict: Bool) async {
    guard let raw else { return }
    do {
      // Parts side by side, handed on in the order of the file: so is every entity's.
      try await inOrder(
        width: ingestor.transformWidth * 2,
        take: { try await offPool { try raw.take() } },
        work: { [ingestor] rows in
          let bad = rows.quarantined.count
          let made = try await ingestor.transformed(rows)
          if strict, made.quarantined.count > bad { throw refusal(made.quarantined.suffix(1)) }
          return made
        }, deliver: { made in try await offPool { try channel.put(made) } })
      channel.finish()
    } catch {
      raw.fail(error)
      channel.fail(error)
    }
  }

  private func refusal(_ records: some Sequence<QuarantinedRecord>) -> PlatformError {
    let lines = records.map { "\($0.position): \($0.reason)" }.joined(separator: "\n")
    return PlatformError(
      .invalidRecord, "The file was refused, nothing of it is stored: \(lines)")
  }

  private func read(_ request: FileRequest, _ reading: FileReading) async throws -> FileSummary {
    do {
      let summary = try await reader.read(request) { try reading.take($0) }
      try reading.finish()
      return summary
    } catch {
      reading.channel.fail(error)
      throw error
    }
  }
}

extension SourceDefinition {
  /// How many rows of single values one row may stand for in buffers: embeddings make it large.
  fileprivate var rowWeight: Int {
    1
      + columns.reduce(0) { weight, column in
        guard case .array(_, let length) = column.type else { return weight }
        return weight + (length ?? 16) / 16
      }
  }
}

/// The reading half of a file's ingest; used by the reading thread only.
private final class FileReading: Sendable {
  struct State {
    var validator: Validator
    var parser: RecordParser
    var rows = 0
    var refused: [QuarantinedRecord] = []
    var unknownFields = 0
  }

  let channel: RowChannel
  private let name: String
  private let format: FileFormat
  private let strictReasons: Int?
  private let progress: @Sendable (FileProgress) -> Void
  private let state: Mutex<State>

  init(
    source: SourceDefinition, origin: RecordOrigin, format: FileFormat, strictReasons: Int?,
    channel: RowChannel, progress: @escaping @Sendable (FileProgress) -> Void
  ) {
    self.channel = channel
    self.format = format
    self.strictReasons = strictReasons
    self.progress = progress
    name = if case .file(let name, _) = origin { name } else { "" }
    state = Mutex(
      State(
        validator: Validator(source: source, origin: origin),
        parser: RecordParser(source: source, origin: origin, maximumRows: .max)))
  }

  var unknownFields: Int { state.withLock { $0.unknownFields } }

  func take(_ raw: RawRows) throws {
    let (rows, read) = try state.withLock { state in
      let rows =
        format == .jsonl ? state.parsed(raw) : try state.validator.validate(raw)
      state.rows += rows.count + rows.quarantined.count
      state.unknownFields += rows.unknownFields
      if let strictReasons {
        state.refused += rows.quarantined.prefix(strictReasons - state.refused.count)
      }
      return (rows, state.rows)
    }
    if let stop = rows.stop { throw stop.error }
    if strictReasons.map({ refusedCount >= $0 }) ?? false { try refuse() }
    if rows.count > 0 || !rows.quarantined.isEmpty { try channel.put(rows) }
    progress(FileProgress(rows: read, fraction: raw.progress))
  }

  func finish() throws {
    if refusedCount > 0 { try refuse() }
    channel.finish()
  }

  private var refusedCount: Int { state.withLock { $0.refused.count } }

  private func refuse() throws {
    throw FileIngest.refusal(of: name, state.withLock { $0.refused })
  }
}

extension FileIngest {
  static func refusal(of name: String, _ refused: [QuarantinedRecord]) -> PlatformError {
    let lines = refused.map { "  \($0.position): \($0.reason)" }.joined(separator: "\n")
    return PlatformError(
      .invalidRecord,
      "'\(name)' was refused, nothing of it is stored: "
        + "\(refused.count)\(refused.count == strictReasons ? " or more" : "") bad "
        + "records.\n\(lines)\nCorrect them, or ingest without --strict, which puts them in "
        + "quarantine."
    )
  }
}

extension FileReading.State {
  /// A batch of JSON lines.
  fileprivate mutating func parsed(_ raw: RawRows) -> ValidatedRows {
    if case .string(let lines)? = raw[RawRows.lineColumn]?.values {
      for row in lines.indices {
        var line = lines[row]
        let number = raw.rowNumbers[row]
        line.withUTF8 { parser.append(record: $0, number: number) }
      }
    }
    var rows = parser.finishRows()
    for reject in raw.rejects { rows.reject(reject, origin: parser.origin) }
    return rows
  }
}

extension FileReport {
  fileprivate init(_ earlier: IngestedFile) {
    self.init(
      rows: earlier.rows + earlier.quarantined + earlier.duplicates, duplicates: earlier.duplicates,
      quarantined: earlier.quarantined, alreadyIngested: true)
  }

  fileprivate init(_ outcome: FileOutcome, _ summary: FileSummary, unknownFields: Int) {
    let reasons = outcome.faults.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(10)
    self.init(
      rows: outcome.accepted + outcome.duplicates + outcome.quarantined + outcome.details.erased
        + outcome.details.expired,
      accepted: outcome.accepted,
      duplicates: outcome.duplicates, quarantined: outcome.quarantined,
      reasons: reasons.map { FaultCount(reason: $0.key, count: $0.value) },
      missingColumns: summary.missingColumns, ignoredColumns: summary.ignoredColumns,
      unknownFields: unknownFields)
    erased = outcome.details.erased
    expired = outcome.details.expired
    transformDigest = outcome.transformDigest
    warnings = outcome.warnings.sorted { $0.key < $1.key }
      .map { FaultCount(reason: $0.key, count: $0.value) }
  }
}
