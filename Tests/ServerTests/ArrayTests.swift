import Core
import Foundation
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// Embeddings and lists from a producer to a model.
  @Suite struct ArrayTests {
    private static let definitions = """
      project: library
      entities:
        document: {key: [document_id]}
      sources:
        documents:
          event_time: at
          columns:
            document_id: int64
            embedding: double[3]
            tags: string[]
        votes:
          event_time: known_at
          columns: {document_id: int64, shown_at: timestamp, query: "double[3]", relevant: bool}
      views:
        content:
          entity: document
          source: documents
          features:
            embedding: {latest: embedding}
            tags: {latest: tags}
            tag_count: {derived: len(tags)}
      models:
        relevance:
          features: [content.embedding, content.tag_count, query]
          inputs: {query: "double[3]"}
          missing: {default: 0}
          spine: {source: votes, time: shown_at}
          label: {source: votes, value: relevant, delay: 1d}
          train: {run: train.py:train}
          drift: {window: 1h}

      """

    private static let code = """
      def train(dataset, context):
          from sklearn.linear_model import LogisticRegression

          assert list(dataset.features) == [
              "content.embedding[0]", "content.embedding[1]", "content.embedding[2]",
              "content.tag_count", "query[0]", "query[1]", "query[2]",
          ], dataset.features
          return LogisticRegression().fit(dataset.X, dataset.y)

      """

    private static let features = ["content.embedding", "content.tags", "content.tag_count"]

    private static func with(_ body: (PlatformProcess) async throws -> Void) async throws {
      try await PlatformProcess.with(
        files: ["martlet.yaml": definitions, "train.py": code],
        environment: ShopProject.environment
      ) { platform in
        let answer = try await platform.rest.apply(definitions)
        guard answer.status == 200 else { throw Refused(request: "apply", answer: answer) }
        try await body(platform)
      }
    }

    private static func online(_ platform: PlatformProcess, _ document: Int) async throws -> [JSON]
    {
      try await platform.rest.online(features, #"{"document_id": \#(document)}"#)
    }

    /// Document 1 by REST, 2 and a broken one by Parquet, 3 by CSV.
    private static func feed(_ platform: PlatformProcess) async throws {
      let rest = platform.rest
      let pushed = try await rest.push(
        "documents",
        """
        {"document_id": 1, "embedding": [1, 0.5, -2], "tags": ["swift", "ünï"], "at": "2026-02-27T00:00:00Z"}
        {"document_id": 1, "embedding": [1, 0.5], "tags": [], "at": "2026-02-28T00:00:00Z"}
        """)
      #expect(pushed["accepted"]?.int == 1, "\(pushed)")
      #expect(pushed["quarantined"]?.int == 1)
      try await HistoryReadTests.duckDB(
        """
        COPY (SELECT * FROM (VALUES (2, [0.25, 4, 8]::FLOAT[], []::VARCHAR[], TIMESTAMPTZ '2026-02-27 00:00:00Z'),
        (9, [1, 2, 3]::FLOAT[], ['x', NULL], TIMESTAMPTZ '2026-02-27 00:00:00Z')) t(document_id, embedding, tags, "at"))
        TO 'documents.parquet' (FORMAT parquet)
        """, platform)
      let parquet = Array(
        FileManager.default.contents(atPath: "\(platform.folder.path)/documents.parquet") ?? Data())
      let uploaded = try await rest.post(
        "/api/v1/sources/documents/files?name=documents.parquet", bytes: parquet)
      #expect(uploaded["accepted"]?.int == 1, "\(uploaded)")
      #expect(uploaded["quarantined"]?.int == 1)
      let csv = try await rest.upload(
        "documents", "documents.csv",
        "document_id,embedding,tags,at\n3,\"[3, 3, 3]\",\"[\"\"a\"\"]\",2026-02-27T00:00:00Z\n")
      #expect(csv["accepted"]?.int == 1, "\(csv)")
    }

    private static func checkOnline(_ platform: PlatformProcess) async throws {
      #expect(
        try await online(platform, 1) == [
          .array([.double(1), .double(0.5), .double(-2)]),
          .array([.string("swift"), .string("ünï")]), .int(2),
        ])
      #expect(
        try await online(platform, 2) == [
          .array([.double(0.25), .double(4), .double(8)]), .array([]), .int(0),
        ])
      #expect(try await online(platform, 3).last == .int(1))
      #expect(try await online(platform, 9) == [.null, .null, .null])
    }

    @Test("arrays are read as they were sent, online and in history, also after a restart")
    func wholeWay() async throws {
      try await Self.with { platform in
        try await Self.feed(platform)
        try await Self.checkOnline(platform)
        let wire = try await platform.withGRPC {
          try await $0.online(Self.features, "document_id", 1)
        }
        #expect(wire.first?.value.listValue.doubles == [1, 0.5, -2])
        #expect(wire.first?.status == .present)
        #expect(wire[1].value.listValue.strings == ["swift", "ünï"])
        let history = try await Self.history(platform)
        #expect(try await platform.stop() == 0)
        try await platform.start()
        try await Self.checkOnline(platform)
        #expect(try await Self.history(platform) == history)
        #expect(
          try await platform.rest.rows(
            "SELECT embedding, tags FROM events_documents WHERE document_id = 2")
            == [[.array([.double(0.25), .double(4), .double(8)]), .array([])]])
      }
    }

    private static func history(_ platform: PlatformProcess) async throws -> String {
      let spine =
        "document_id,at\n1,2026-02-27T12:00:00Z\n2,2026-02-27T12:00:00Z\n1,2026-02-26T00:00:00Z\n"
      let path = "/api/v1/features/history?features=\(features.joined(separator: ","))&time=at"
      let csv = try await platform.rest.post(path, spine)
      let ends = [
        #","[1.0,0.5,-2.0]","[""swift"",""ünï""]",2"#, #","[0.25,4.0,8.0]",[],0"#, ",,,",
      ]
      let lines = csv.text.split(separator: "\n").dropFirst()
      #expect(lines.count == 3, "\(csv)")
      for (line, end) in zip(lines, ends) { #expect(line.hasSuffix(end), "\(csv)") }
      let parquet = try await platform.rest.post(path + "&format=parquet", spine)
      #expect(parquet.status == 200, "\(parquet)")
      try Data(parquet.body).write(
        to: URL(fileURLWithPath: "\(platform.folder.path)/history.parquet"))
      try await HistoryReadTests.duckDB(
        """
        COPY (SELECT string_agg(typeof("content.embedding") || "content.embedding"::VARCHAR || "content.tags"::VARCHAR, ' ')
        AS all FROM 'history.parquet') TO 'history.csv' (HEADER false, QUOTE '')
        """, platform)
      #expect(
        platform.folder.text("history.csv")
          == "DOUBLE[][1.0, 0.5, -2.0][swift, ünï] DOUBLE[][0.25, 4.0, 8.0][]\n")
      return csv.text
    }

    private static func checkLog(_ rest: RESTClient) async throws {
      var rows: [[JSON]] = []
      try await waitUntil("the predictions were logged") {
        rows = try await rest.rows(
          """
          SELECT json_extract_string(model_inputs, '$[0].value'), json_extract_string(model_inputs, '$[2].value[2]')
          FROM model_logs WHERE model_error IS NULL ORDER BY request_id
          """)
        return rows.count == 3
      }
      #expect(rows[0] == [.string("[5.0,1.0,0.0]"), .string("3.0")])
    }

    @Test("a transform gets arrays as NumPy has them and gives them back")
    func transform() async throws {
      let definitions = Self.definitions.replacing(
        "    event_time: at\n", with: "    event_time: at\n    transform: clean.py:clean\n"
      ).replacing(
        "      tags: string[]\n",
        with: "      tags: string[]\n      direction: double[3]\n      sorted: string[]\n"
      ).replacing("{latest: embedding}", with: "{latest: direction}")
        .replacing("{latest: tags}", with: "{latest: sorted}")
      let code = """
        import numpy as np

        def clean(columns):
            vectors = columns["embedding"]
            assert vectors.shape[1] == 3, vectors.shape
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
            if (length == 0).any():
                raise ValueError("no direction")
            return {"direction": vectors / length, "sorted": [sorted(tags) for tags in columns["tags"]]}

        """
      try await PlatformProcess.with(
        files: ["martlet.yaml": definitions, "train.py": Self.code, "clean.py": code],
        environment: ShopProject.environment
      ) { platform in
        let applied = try await platform.rest.apply(definitions)
        #expect(applied.status == 200, "\(applied)")
        let pushed = try await platform.rest.push(
          "documents",
          """
          {"document_id": 1, "embedding": [3, 0, 4], "tags": ["b", "a"], "at": "2026-02-27T00:00:00Z"}
          {"document_id": 2, "embedding": [0, 0, 0], "tags": [], "at": "2026-02-27T00:00:00Z"}
          """)
        #expect(pushed["accepted"]?.int == 1, "\(pushed)")
        #expect(pushed["quarantined"]?.int == 1)
        #expect(
          try await Self.online(platform, 1) == [
            .array([.double(0.6), .double(0), .double(0.8)]), .array([.string("a"), .string("b")]),
            .int(2),
          ])
      }
    }

    @Test("a model takes the elements of its arrays, from the store and from the request")
    func model() async throws {
      try await Self.with { platform in
        let rest = platform.rest
        var documents: [String] = []
        var votes: [String] = []
        for document in 0..<200 {
          let good = document % 2 == 0
          documents.append(
            #"{"document_id": \#(document), "embedding": [\#(good ? 5 : -5), 1, 0], "tags": [], "at": "2026-02-01T00:00:00Z"}"#
          )
          votes.append(
            #"{"document_id": \#(document), "query": [1, 2, \#(document % 7)], "relevant": \#(good), "shown_at": "2026-02-\#(twoDigits(2 + document / 20))T00:00:00Z", "known_at": "2026-02-20T00:00:00Z"}"#
          )
        }
        _ = try await rest.push("documents", documents.joined(separator: "\n"))
        _ = try await rest.push("votes", votes.joined(separator: "\n"))
        let job = try await rest.train("relevance")
        #expect(job["state"]?.string == "COMPLETED", "\(job.text)")
        try await rest.promote("relevance", 1)
        let answer = try await rest.predict(
          "relevance",
          #"{"document_id": 4, "query": [1, 2, 3]}, {"document_id": 5, "query": [1, 2, 3]}, {"document_id": 999, "query": null}"#
        )
        #expect(answer.status == 200, "\(answer)")
        let predictions = answer["predictions"]?.array ?? []
        try #require(predictions.count == 3)
        #expect(predictions[0]["value"]?.number ?? 0 > 0.9, "\(answer)")
        #expect(predictions[1]["value"]?.number ?? 1 < 0.1, "\(answer)")
        #expect(
          predictions[0]["features"]?["query"]?["value"]
            == .array([.double(1), .double(2), .double(3)]))
        let short = try await rest.predict(
          "relevance", #"{"document_id": 4, "query": [1, 2]}"#)
        #expect(short.status == 400, "\(short)")
        #expect(short.error.contains("input 'query' takes double[3]"), "\(short)")
        try await Self.checkLog(rest)
        let drift = try await rest.post("/api/v1/models/relevance/drift")
        #expect(drift.status == 200, "\(drift)")
        #expect(!drift.text.contains("embedding"), "\(drift)")
      }
    }
  }
}
