import Core
import GRPCCore
import Jobs
import Monitoring
import Serving
import Wire

/// `martlet.v1.Serving` over the platform's services.
struct ServingService: Martlet_V1_Serving.ServiceProtocol {
  let services: PlatformServices

  func predict(
    request: ServerRequest<Martlet_V1_PredictRequest>, context: ServerContext
  ) async throws -> ServerResponse<Martlet_V1_PredictResponse> {
    ServerResponse(
      message: try await predict(request.message, timeout: Span(timeoutOf: request.metadata)))
  }

  func explain(
    request: ServerRequest<Martlet_V1_PredictRequest>, context: ServerContext
  ) async throws -> ServerResponse<Martlet_V1_ExplainResponse> {
    let answer = try await answer(
      request.message, timeout: Span(timeoutOf: request.metadata), wantsExplanation: true)
    var response = Martlet_V1_ExplainResponse()
    response.answer = wire(answer)
    response.rows = answer.predictions.map(Martlet_V1_Explanation.init)
    return ServerResponse(message: response)
  }

  private func predict(
    _ request: Martlet_V1_PredictRequest, timeout: Span?
  ) async throws -> Martlet_V1_PredictResponse {
    wire(try await answer(request, timeout: timeout, wantsExplanation: false))
  }

  private func answer(
    _ request: Martlet_V1_PredictRequest, timeout: Span?, wantsExplanation: Bool
  ) async throws -> PredictAnswer {
    try await services.predict(
      model: request.model, version: request.version == 0 ? nil : request.version,
      rows: try request.rows.map(requestRow),
      requestID: request.requestID.isEmpty ? nil : request.requestID, timeout: timeout,
      wantsExplanation: wantsExplanation)
  }

  private func wire(_ answer: PredictAnswer) -> Martlet_V1_PredictResponse {
    var response = Martlet_V1_PredictResponse()
    response.requestID = answer.requestID
    response.model = answer.model
    // No version stands for rows that several answered.
    response.version = answer.isMixed ? 0 : answer.version
    response.stage = answer.isMixed ? "" : answer.stage.rawValue
    response.route = answer.route
    response.why = answer.isMixed ? "each row goes by its own key" : answer.why
    response.predictions = answer.predictions.map { prediction in
      var wire = Martlet_V1_Prediction()
      wire.value = prediction.value
      wire.version = prediction.version
      wire.route = prediction.route.kind.rawValue
      wire.features = zip(prediction.featureNames, prediction.vector.values).map { name, value in
        var named = Martlet_V1_NamedFeature()
        named.name = name
        named.value = value.wire
        return named
      }
      return wire
    }
    response.latency.hydrate = UInt64(answer.latency.hydrate)
    response.latency.queue = UInt64(answer.latency.queue)
    response.latency.compute = UInt64(answer.latency.compute)
    response.latency.total = UInt64(answer.latency.total)
    return response
  }
}

/// `martlet.v1.Monitoring` over the platform's services.
struct MonitoringService: Martlet_V1_Monitoring.SimpleServiceProtocol {
  let services: PlatformServices

  func runDrift(
    request: Martlet_V1_RunDriftRequest, context: ServerContext
  ) async throws -> Martlet_V1_DriftReport {
    let window = request.window.isEmpty ? nil : try services.window(request.window)
    let report = try await services.monitor.run(model: request.model, window: window)
    var wire = Martlet_V1_DriftReport()
    wire.model = report.model
    wire.version = report.version
    wire.rows = UInt64(report.rows)
    wire.score = report.score
    wire.windowStart = report.windowStart.wire
    wire.windowEnd = report.windowEnd.wire
    wire.features = report.features.map { feature in
      var drift = Martlet_V1_FeatureDrift()
      drift.feature = feature.feature
      drift.psi = feature.psi
      drift.ks = feature.ks ?? .nan
      drift.nullShare = feature.nullShare
      drift.baselineNullShare = feature.baselineNullShare
      return drift
    }
    return wire
  }
}

/// `martlet.v1.Orchestrator` over the platform's services.
struct OrchestratorService: Martlet_V1_Orchestrator.SimpleServiceProtocol {
  let services: PlatformServices

  func triggerJob(
    request: Martlet_V1_TriggerJobRequest, context: ServerContext
  ) async throws -> Martlet_V1_Job {
    Martlet_V1_Job(
      try await services.train(
        model: request.model, reason: request.reason.isEmpty ? "asked for" : request.reason,
        parameters: TrainingParameters(),
        idempotencyKey: request.idempotencyKey.isEmpty ? nil : request.idempotencyKey))
  }

  func getJob(
    request: Martlet_V1_GetJobRequest, context: ServerContext
  ) async throws -> Martlet_V1_Job { Martlet_V1_Job(try await services.jobs.job(request.id)) }

  func listJobs(
    request: Martlet_V1_ListJobsRequest, context: ServerContext
  ) async throws -> Martlet_V1_ListJobsResponse {
    var response = Martlet_V1_ListJobsResponse()
    let limit = request.limit == 0 ? 50 : min(Int(request.limit), 10_000)
    response.jobs = try await services.jobs.jobs(limit: limit).map(Martlet_V1_Job.init)
    return response
  }

  func getJobLogs(
    request: Martlet_V1_GetJobLogsRequest, context: ServerContext
  ) async throws -> Martlet_V1_GetJobLogsResponse {
    let limit = request.limit == 0 ? Limits.jobLogLines : Int(request.limit)
    var response = Martlet_V1_GetJobLogsResponse()
    response.lines = try await services.jobs.lines(of: request.id, limit: limit).map { one in
      var wire = Martlet_V1_JobLogLine()
      wire.number = one.number
      wire.time = one.time.wire
      wire.attempt = UInt32(clamping: one.attempt)
      wire.level = one.line.level
      wire.logger = one.line.logger
      wire.message = one.line.message
      return wire
    }
    return response
  }

  func cancelJob(
    request: Martlet_V1_GetJobRequest, context: ServerContext
  ) async throws -> Martlet_V1_Job {
    guard let job = try await services.jobs.apply(.cancel, to: request.id) else {
      throw PlatformError(.failedPrecondition, "job \(request.id) is over already")
    }
    return Martlet_V1_Job(job)
  }
}

/// `martlet.v1.Registry` over the platform's services.
struct RegistryService: Martlet_V1_Registry.SimpleServiceProtocol {
  let services: PlatformServices

  func listVersions(
    request: Martlet_V1_ListVersionsRequest, context: ServerContext
  ) async throws -> Martlet_V1_ListVersionsResponse {
    try services.requireModel(request.model)
    var response = Martlet_V1_ListVersionsResponse()
    response.versions = (services.catalog.changes.current.models[request.model] ?? [])
      .map(Martlet_V1_ModelVersion.init)
    return response
  }

  func promote(
    request: Martlet_V1_PromoteRequest, context: ServerContext
  ) async throws -> Martlet_V1_ModelVersion {
    let found = try services.version(request.model, String(request.version))
    return Martlet_V1_ModelVersion(
      try await services.catalog.promote(
        model: found.model, version: found.version, who: "api", why: request.why))
  }

  func archive(
    request: Martlet_V1_ArchiveRequest, context: ServerContext
  ) async throws -> Martlet_V1_ModelVersion {
    let found = try services.version(request.model, String(request.version))
    return Martlet_V1_ModelVersion(
      try await services.catalog.archive(
        model: found.model, version: found.version, who: "api", why: request.why))
  }
}

/// `grpc.health.v1.Health`: the whole platform and each of its services are serving while the server runs.
struct HealthService: Grpc_Health_V1_Health.SimpleServiceProtocol {
  let names: Set<String>

  func check(
    request: Grpc_Health_V1_HealthCheckRequest, context: ServerContext
  ) async throws -> Grpc_Health_V1_HealthCheckResponse {
    guard request.service.isEmpty || names.contains(request.service) else {
      throw RPCError(code: .notFound, message: "there is no service '\(request.service)'")
    }
    return serving
  }

  func watch(
    request: Grpc_Health_V1_HealthCheckRequest,
    response: RPCWriter<Grpc_Health_V1_HealthCheckResponse>, context: ServerContext
  ) async throws {
    var state = serving
    if !request.service.isEmpty, !names.contains(request.service) { state.status = .serviceUnknown }
    try await response.write(state)
    // The state does not change while the server runs: the stream stays open until either side ends it.
    try await context.cancellation.cancelled
  }

  private var serving: Grpc_Health_V1_HealthCheckResponse {
    var response = Grpc_Health_V1_HealthCheckResponse()
    response.status = .serving
    return response
  }
}

extension Martlet_V1_Job {
  init(_ run: JobRun) {
    self.init()
    id = run.id
    kind = run.kind
    model = run.model
    state = run.state.rawValue
    attempt = UInt32(run.attempt)
    reason = run.reason
    error = run.error ?? ""
    version = run.version ?? 0
    progress = run.progress
  }
}

extension Martlet_V1_ModelVersion {
  init(_ found: ModelVersion) {
    self.init()
    model = found.model
    version = found.version
    stage = found.stage.rawValue
    artifact = found.artifact.hex
    metrics = found.metrics
  }
}
