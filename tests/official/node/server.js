const ms = require('ms');

require('http')
  .createServer((request, response) => response.end(`served by node, ${ms(60000)}\n`))
  .listen(3000);
process.on('SIGTERM', () => process.exit(0));
