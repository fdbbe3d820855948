import Catalog
import Core
import Features
import Foundation
import Jobs
import Serving
import Synchronization

extension PlatformServices {
  /// What a name was made from, and what was made from it.
  ///
  /// - Throws: `.notFound` with the nearest name; `.invalidArgument` for a name that means several things.
  func lineage(of text: String, _ direction: LineageDirection) async throws -> LineageSelection {
    // The catalog first: what it has is at most newer in the other stores.
    let snapshot = catalog.changes.current
    let versions = snapshot.models.values.flatMap { $0 }.sorted {
      ($0.model, $0.version) < ($1.model, $1.version)
    }
    let saved = try await datasets.list(limit: Limits.lineageJobs)
    var drawing = LineageDrawing(
      snapshot: snapshot,
      definitions: try await catalog.definitions(
        Set(versions.map(\.definitionsVersion) + saved.map(\.definitionsVersion))),
      digests: await digests(snapshot))
    for version in versions { drawing.add(version) }
    for job in try await jobs.jobs(limit: Limits.lineageJobs).reversed() {
      drawing.add(LineageJob(job))
    }
    for dataset in saved { drawing.add(dataset) }
    if let id = LineageName(text).prediction {
      guard let prediction = try await prediction(id) else {
        throw PlatformError(
          .notFound,
          "there is no prediction '\(id)' in the log; its request id is in the answer to a prediction"
        )
      }
      drawing.add(
        prediction, under: try await catalog.definitions(inForceAt: prediction.time))
    }
    var graph = drawing.builder.graph
    let root = try graph.resolve(text)
    let reached = graph.closure(of: root, direction).union([root])
    for source in snapshot.project.sources where reached.contains("source:\(source.name)") {
      graph.describe("source:\(source.name)", await events(of: source.name))
      graph.describe(
        "source:\(source.name)",
        await transformVersions(of: source.name) + recomputations(of: source.name))
    }
    do {
      return try graph.selection(of: root, direction)
    } catch {
      throw PlatformError(.internalError, "\(error)")
    }
  }

  private func digests(_ snapshot: Snapshot) async -> [CodeReference: String] {
    let project = snapshot.project
    var digests: [CodeReference: String] = [:]
    for code in project.sources.compactMap(\.transform) + project.models.compactMap(\.train?.run) {
      digests[code] = await CodeDigest.of(code, in: snapshot.projectDirectory)
    }
    return digests
  }

  /// Which code made the columns of which events, the newest first; nothing where no transform ran.
  private func transformVersions(of source: String) async -> [LineageGraph.Attribute] {
    struct Version: Decodable, Sendable {
      var digest: String?
      var since: Timestamp
      var first: Int64
    }
    let versions = try? await warehouse.query(
      "SELECT digest, created_at AS since, first_sequence AS \"first\" FROM transform_versions "
        + "WHERE source = ? ORDER BY first_sequence DESC LIMIT 20", [.string(source)],
      as: Version.self)
    guard let versions, !versions.isEmpty else { return [] }
    let text = versions.map { version in
      "\(version.digest?.prefix(12) ?? "none") from event \(version.first) (\(version.since))"
    }
    return [.init("transformed_by", text.joined(separator: "; "))]
  }

  /// Which code made the columns of which events anew, the newest first.
  private func recomputations(of source: String) async -> [LineageGraph.Attribute] {
    struct Row: Decodable, Sendable {
      var digest: String
      var rows: Int64
      var job: String
      var since: Timestamp
    }
    let found = try? await warehouse.query(
      "SELECT digest, rows, job, in_force_since AS since FROM recomputations "
        + "WHERE source = ? AND in_force_since IS NOT NULL ORDER BY number DESC LIMIT 20",
      [.string(source)], as: Row.self)
    guard let found, !found.isEmpty else { return [] }
    let text = found.map { one in
      "\(one.rows) events computed anew by \(one.digest.prefix(12)) (\(one.since), job \(one.job))"
    }
    return [.init("computed_anew", text.joined(separator: "; "))]
  }

  /// How many events there are and of when; nothing where the warehouse does not say.
  private func events(of source: String) async -> [LineageGraph.Attribute] {
    let found = Mutex<[LineageGraph.Attribute]>([])
    let table = EventTable.quoted(EventTable.name(for: source))
    try? await warehouse.stream(
      "SELECT count(*) AS events, min(event_timestamp) AS first, max(event_timestamp) AS last FROM \(table)",
      []
    ) { batch in
      guard batch.count > 0, case .int64(let count) = batch.columns[0][0] else { return }
      var attributes = [LineageGraph.Attribute("events", "\(count)")]
      if case .timestamp(let first) = batch.columns[1][0] {
        attributes.append(.init("first_event", first.description))
      }
      if case .timestamp(let last) = batch.columns[2][0] {
        attributes.append(.init("last_event", last.description))
      }
      found.withLock { [attributes] in $0 = attributes }
    }
    return found.withLock { $0 }
  }

  /// The row of the log that a request id names; of a request of several rows, `ID#1`, `ID#2`, ….
  private func prediction(_ id: String) async throws -> LineagePrediction? {
    // What was predicted just now may still wait to be written.
    try await log.flush()
    let found = Mutex<LineagePrediction?>(nil)
    try await warehouse.stream(
      """
      SELECT model_id, model_version, event_datetime, entity_keys, model_inputs, model_result, model_error
      FROM model_logs WHERE request_id = ? AND route IS DISTINCT FROM 'shadow'
      ORDER BY event_datetime DESC LIMIT 1
      """, [.string(id)]
    ) { batch in
      guard batch.count > 0 else { return }
      func text(_ column: Int) -> String {
        if case .string(let text) = batch.columns[column][0] { text } else { "" }
      }
      guard case .timestamp(let time) = batch.columns[2][0] else { return }
      let result: String
      if case .double(let value) = batch.columns[5][0] {
        result = "\(value)"
      } else {
        result = text(6)
      }
      let prediction = LineagePrediction(
        requestID: id, model: text(0), version: Int64(text(1)) ?? 0, time: time,
        entityKeys: text(3), result: result, reads: LineagePrediction.reads(text(4)))
      found.withLock { $0 = prediction }
    }
    return found.withLock { $0 }
  }

  // MARK: Runs

  /// Jobs that are not over, for what a change of the definitions would break.
  func unfinishedJobs() async throws -> [LineageJob] {
    try await jobs.unfinished().map(LineageJob.init)
  }

  /// Tells OpenLineage of a file's ingest while `body` does it.
  func announcingIngest(
    _ file: String, into source: SourceDefinition, _ body: () async throws -> FileReport
  ) async throws -> FileReport {
    let run = UUID()
    let events = OpenLineageEvents(catalog.changes.current)
    func say(_ news: OpenLineageEvents.IngestNews) {
      openLineage.record(
        events.ingest(file, into: source, run: run, news, at: SystemClock().now))
    }
    say(.begun)
    do {
      let report = try await body()
      say(.completed(report))
      return report
    } catch {
      let isAborted = error is CancellationError || (error as? PlatformError)?.code == .cancelled
      say(isAborted ? .aborted("the caller went away") : .failed("\(error)"))
      throw error
    }
  }
}

/// The whole graph as it is put together: definitions newest first, then versions, jobs and a prediction.
private struct LineageDrawing {
  var builder = LineageBuilder()
  private let current: LineageBuilder.Drawn
  private let snapshot: Snapshot
  private let definitions: [Int64: AppliedDefinitions]
  private let digests: [CodeReference: String]
  /// Versions of the definitions as they were drawn, by number and by the files that were trained with.
  private var drawn: [String: LineageBuilder.Drawn] = [:]

  init(
    snapshot: Snapshot, definitions: [AppliedDefinitions], digests: [CodeReference: String]
  ) {
    self.snapshot = snapshot
    self.definitions = Dictionary(definitions.map { ($0.version, $0) }) { first, _ in first }
    self.digests = digests
    current = builder.add(snapshot.project, version: snapshot.definitionsVersion) { digests[$0] }
  }

  mutating func add(_ version: ModelVersion) {
    let origin = version.trainingSet.origin
    builder.add(version, under: draw(definitions[version.definitionsVersion], origin))
  }

  mutating func add(_ dataset: SavedDataset) {
    var facts: [LineageGraph.Attribute] = [
      .init("rows", "\(dataset.rows)"), .init("spine", dataset.spine),
      .init("created_at", dataset.createdAt.description),
      .init("built_under_definitions", "\(dataset.definitionsVersion)"),
    ]
    if let model = dataset.model { facts.append(.init("model", model)) }
    if let asOf = dataset.asOf { facts.append(.init("as_of", asOf.description)) }
    for (source, last) in dataset.through.sorted(by: { $0.key < $1.key }) {
      facts.append(.init("through_\(source)", "event \(last)"))
    }
    builder.add(
      LineageDataset(
        id: dataset.id, name: dataset.name, model: dataset.model, features: dataset.features,
        rowHash: dataset.hash, attributes: facts),
      under: draw(definitions[dataset.definitionsVersion], nil))
  }

  mutating func add(_ job: LineageJob) { builder.add(job, under: current) }

  mutating func add(_ prediction: LineagePrediction, under applied: AppliedDefinitions?) {
    builder.add(prediction, under: draw(applied, nil))
  }

  /// What a version did not keep of its files is taken to be as it is now.
  private mutating func draw(
    _ applied: AppliedDefinitions?, _ origin: TrainingSetOrigin?
  ) -> LineageBuilder.Drawn? {
    guard let applied else { return nil }
    let codes = (origin?.code ?? []).map { "\($0.reference) \($0.digest ?? "")" }
    let key = "\(applied.version)\n" + codes.joined(separator: "\n")
    if let known = drawn[key] { return known }
    let digests = digests
    let made = builder.add(applied.project, version: applied.version) {
      origin?.digest(of: $0) ?? digests[$0]
    }
    drawn[key] = made
    return made
  }
}

extension LineageJob {
  init(_ run: JobRun) {
    self.init(
      id: run.id, kind: run.kind, model: run.model, state: run.state.rawValue, reason: run.reason,
      createdAt: run.createdAt, finishedAt: run.finishedAt)
  }
}

extension LineagePrediction {
  /// The features of a row of the log, from its column `model_inputs`.
  static func reads(_ inputs: String) -> [Read] {
    let features = (try? JSON(parsing: Array(inputs.utf8)))?.array ?? []
    return features.compactMap { feature in
      guard let name = feature["name"]?.string else { return nil }
      return Read(
        feature: name, status: feature["status"]?.string ?? "read",
        eventTimestamp: feature["event_timestamp"]?.string)
    }
  }
}

/// The ways that lineage is written.
enum LineageFormat: String, CaseIterable {
  case json, text, dot

  /// - Throws: `.invalidArgument` with the words that may be written.
  static func named(_ text: String) throws -> LineageFormat {
    guard let format = LineageFormat(rawValue: text) else {
      throw PlatformError(
        .invalidArgument,
        "'\(text)' is not a format\(suggestion(for: text, among: allCases.map(\.rawValue)))")
    }
    return format
  }
}

extension LineageDirection {
  /// - Throws: `.invalidArgument` with the words that may be written.
  static func named(_ text: String) throws -> LineageDirection {
    guard let direction = LineageDirection(rawValue: text) else {
      throw PlatformError(
        .invalidArgument,
        "'\(text)' is not a direction\(suggestion(for: text, among: allCases.map(\.rawValue)))")
    }
    return direction
  }
}
