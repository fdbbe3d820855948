import Catalog
import Core
import Hummingbird
import Jobs
import Monitoring
import Serving

/// Models, versions, predictions, drift and training.
struct ModelRoutes {
  let services: PlatformServices

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.get("models") { _, _ in
      let snapshot = services.catalog.changes.current
      return JSONResponse.ok(
        .object([
          "models": .array(snapshot.project.models.map { model($0.name, snapshot) })
        ]))
    }
    router.get("models/:model") { _, context in
      let name = try context.name("model")
      let snapshot = services.catalog.changes.current
      try services.requireModel(name)
      return JSONResponse.ok(model(name, snapshot))
    }
    router.get("models/:model/versions/:version") { _, context in
      let found = try services.version(context.name("model"), context.name("version"))
      let registered = try await services.catalog.registeredVersion(found.model, found.version)
      return JSONResponse.ok(version(found, registered))
    }
    router.post("models/:model/versions/:version/promote") { request, context in
      let body = try await request.json()
      let found = try services.version(context.name("model"), context.name("version"))
      let promoted = try await services.catalog.promote(
        model: found.model, version: found.version, who: body["who"]?.string ?? "api",
        why: body["why"]?.string ?? "")
      return JSONResponse.ok(version(promoted))
    }
    router.post("models/:model/versions/:version/archive") { request, context in
      let body = try await request.json()
      let found = try services.version(context.name("model"), context.name("version"))
      let archived = try await services.catalog.archive(
        model: found.model, version: found.version, who: body["who"]?.string ?? "api",
        why: body["why"]?.string ?? "")
      return JSONResponse.ok(version(archived))
    }
    router.post("models/:model/versions/:version/sign") { request, context in
      let body = try await request.json()
      let found = try services.version(context.name("model"), context.name("version"))
      let signed = try await services.sign(
        found, who: body["who"]?.string ?? "api", why: body["why"]?.string ?? "")
      return JSONResponse.ok(version(signed))
    }
    addPredictions(to: router)
    router.post("models/:model/train") { request, context in
      let body = try await request.json()
      let job = try await services.train(
        model: context.name("model"), reason: body["reason"]?.string ?? "asked for",
        parameters: TrainingParameters(
          asOf: try body["as_of"]?.string.map { try Timestamp(iso8601: $0) },
          promote: body["promote"]?.bool ?? false),
        idempotencyKey: body["idempotency_key"]?.string)
      return JSONResponse.ok(JobJSON.job(job))
    }
    router.post("models/:model/drift") { request, context in
      let window = try request.query("window").map(services.window)
      let report = try await services.monitor.run(model: context.name("model"), window: window)
      return JSONResponse.ok(drift(report))
    }
  }

  private func addPredictions(to router: RouterGroup<HTTPRouter.Context>) {
    for (verb, explains) in [("predict", false), ("explain", true)] {
      router.post("models/:model/\(verb)") { request, context in
        let body = try await request.json()
        let priority = try CallPriority(named: body["priority"]?.string, in: "'priority'")
        let answer = try await CallPriority.$current.withValue(priority ?? .current) {
          try await services.predict(
            model: context.name("model"), version: body["version"]?.int, rows: rows(body),
            requestID: body["request_id"]?.string, timeout: timeout(body["timeout_ms"]),
            wantsExplanation: explains)
        }
        return JSONResponse.bytes(PredictionJSON.answer(answer))
      }
    }
  }

  private func timeout(_ json: JSON?) throws -> Span? {
    guard let json, json != .null else { return nil }
    guard let milliseconds = json.int, milliseconds > 0, milliseconds <= Int64(Int32.max) else {
      throw PlatformError(
        .invalidArgument, "'timeout_ms' must be a whole number above 0, not \(json.text)")
    }
    return .milliseconds(milliseconds)
  }

  /// Rows as `{"rows": […]}`, or one row as `{"entities": {…}, "inputs": {…}}`.
  private func rows(_ body: JSON) throws -> [RequestRow] {
    if let rows = body["rows"] { return try FeatureJSON.rows(rows, field: "rows") }
    guard let entities = body["entities"] else {
      throw PlatformError(
        .invalidArgument,
        "send {\"rows\": [{\"customer_id\": 42}]} or {\"entities\": {\"customer_id\": 42}, \"inputs\": {…}}"
      )
    }
    var row = try FeatureJSON.row(entities, field: "entities")
    if let inputs = body["inputs"] {
      row.merge(try FeatureJSON.row(inputs, field: "inputs")) { $1 }
    }
    return [row]
  }

  private func model(_ name: String, _ snapshot: Snapshot) -> JSON {
    .object([
      "name": .string(name), "serving": services.servedVersion(of: name).map { .int($0) } ?? .null,
      "load_error": services.served.failure(of: name).map { .string($0) } ?? .null,
      "versions": .array((snapshot.models[name] ?? []).map(version)),
    ])
  }

  /// What a version is to the registry is told where one version is asked for.
  private func version(_ version: ModelVersion, _ registered: RegisteredVersion) -> JSON {
    guard case .object(let members) = self.version(version) else { return .null }
    return .object(
      members + [
        .init("description", .string(registered.description ?? "")),
        .init("aliases", .array(registered.aliases.map { .string($0) })),
        .init("tags", RegistryJSON.texts(registered.tags)),
      ])
  }

  func version(_ version: ModelVersion) -> JSON {
    .object([
      "model": .string(version.model), "version": .int(version.version),
      "stage": .string(version.stage.rawValue),
      "metrics": .object(
        version.metrics.sorted { $0.key < $1.key }.map { .init($0.key, .double($0.value)) }),
      "features": .array(version.features.map { .string($0.name) }),
      "signature": RegistryJSON.signature(version),
      "libraries": RegistryJSON.texts(version.libraries),
      "training_rows": .int(Int64(version.trainingSet.rows)),
      "training_as_of": .string(version.trainingSet.asOf.description),
      "training_hash": .string(version.trainingSet.hash),
      "training_dataset": version.trainingSet.dataset.map { .string($0) } ?? .null,
      "training_events": .array((version.trainingSet.origin?.events ?? []).map(events)),
      "training_code": .array(
        (version.trainingSet.origin?.code ?? []).map { code in
          .object([
            "function": .string(code.reference.description),
            "digest": code.digest.map { .string($0) } ?? .null,
          ])
        }),
      "definitions_version": .int(version.definitionsVersion),
      "artifact": .string(version.artifact.hex), "baseline": .string(version.baseline.hex),
      "engine": engine(version),
      "format": .string(version.format), "job_id": .string(version.jobID),
      "created_at": .string(version.createdAt.description),
      "artifact_signature": .string(services.signature(of: version)),
    ])
  }

  /// What scores the version, and why it is not the platform itself where a worker does.
  private func engine(_ version: ModelVersion) -> JSON {
    guard let form = version.native else {
      return .object([
        "kind": .string("worker"), "why": .string("it was published without a native form"),
      ])
    }
    return .object([
      "kind": .string(form.refusal == nil ? form.kind : "worker"),
      "class": .string(form.modelClass),
      "compared_rows": .int(Int64(form.comparedRows)),
      "largest_difference": .double(form.largestDifference),
      "why": form.refusal.map { .string($0) } ?? .null,
    ])
  }

  private func events(_ range: TrainingSetOrigin.Events) -> JSON {
    .object([
      "source": .string(range.source), "use": .string(range.use), "count": .int(range.count),
      "first": range.first.map { .string($0.description) } ?? .null,
      "last": range.last.map { .string($0.description) } ?? .null,
      "first_sequence": range.firstSequence.map { .int($0) } ?? .null,
      "last_sequence": range.lastSequence.map { .int($0) } ?? .null,
    ])
  }

  private func drift(_ report: DriftReport) -> JSON {
    .object([
      "model": .string(report.model), "version": .int(report.version),
      "rows": .int(Int64(report.rows)), "score": .double(report.score),
      "window_start": .string(report.windowStart.description),
      "window_end": .string(report.windowEnd.description),
      "features": .array(
        report.features.map { feature in
          .object([
            "feature": .string(feature.feature), "psi": .double(feature.psi),
            "ks": feature.ks.map { .double($0) } ?? .null, "null_share": .double(feature.nullShare),
            "baseline_null_share": .double(feature.baselineNullShare),
          ])
        }),
    ])
  }
}
