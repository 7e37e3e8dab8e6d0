const http = require("http");

const server = http.createServer((request, response) => response.end("node\n"));
process.on("SIGTERM", () => server.close());
server.listen(8000);
